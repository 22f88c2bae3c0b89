package collectortest_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/collectortest"
)

func TestMain(m *testing.M) {
	if collectortest.Child() {
		return
	}
	os.Exit(m.Run())
}

func load() *fleet.Load {
	return &fleet.Load{
		States: 8, Results: 4, Metrics: 3, Every: 23,
		Start: time.Now().Add(-10 * time.Minute).Truncate(time.Second), Interval: time.Second,
	}
}

// agents makes a fleet that tells the oracle.
func agents(t *testing.T, c collectortest.Client, address, dir string, n int, o *collectortest.Oracle) *fleet.Fleet {
	t.Helper()
	token, err := c.Token(t.Context(), "example", "lab", n)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(fleet.Options{
		Agents: n, Address: address, Dir: dir, OnDisk: true,
		Token:    func(context.Context, int) (string, error) { return token, nil },
		Appended: o.Appended, Acked: o.Acked,
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, f.Join, f.Start)
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func within(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, step := range steps {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// rounds sends n runs of each agent in step, one after the other.
func rounds(t *testing.T, f *fleet.Fleet, n int) {
	t.Helper()
	for range n {
		if err := f.Once(1); err != nil {
			t.Fatal(err)
		}
		within(t, f.WaitDecided)
	}
}

// A collector that is killed between and under runs holds, in the end, exactly what
// went in, and has told each notice.
func TestOracleThroughKills(t *testing.T) {
	o := collectortest.NewOracle(fleet.Breaches)
	r := collectortest.Receive(t, nil)
	p := collectortest.Spawn(t, collectortest.Options{Config: r.Config()})
	f := agents(t, p.Client, p.AgentsAddr, t.TempDir(), 6, o)
	within(t, f.WaitConnected)
	if err := f.Drive(load()); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for range 3 {
		rounds(t, f, 12)
		if err := f.Once(1); err != nil { // under way when it is killed
			t.Fatal(err)
		}
		p.Kill()
		kills++
		p.Restart()
		for _, a := range f.Agents() {
			a.Reconnect()
		}
		within(t, f.WaitDecided)
	}
	within(t, f.WaitArchived)
	if err := o.Verify(t.Context(), p.Client); err != nil {
		t.Error(err)
	}
	within(t, func(ctx context.Context) error { return o.WaitTold(ctx, r) })
	if err := o.VerifyTold(r.Told(), kills); err != nil {
		t.Error(err)
	}
	got := o.Totals()
	if got.Hosts != 6 || got.Runs != 6*39 || got.States != 6*8 || got.Breaches == 0 || got.Samples != 6*39*4*3 {
		t.Errorf("what went in was %+v", got)
	}
}

// The oracle finds what it is for: one that heard more than the collector did.
func TestOracleFindsWhatIsMissing(t *testing.T) {
	o := collectortest.NewOracle(fleet.Breaches)
	c := collectortest.Start(t, collectortest.Options{})
	f := agents(t, c.Client, c.AgentsAddr, t.TempDir(), 1, o)
	l := load()
	if err := f.Drive(l); err != nil {
		t.Fatal(err)
	}
	rounds(t, f, 50)
	within(t, f.WaitArchived)
	if err := o.Verify(t.Context(), c.Client); err != nil {
		t.Fatal(err)
	}
	// What follows never went in: a breach, and the end of another item's.
	a := f.Agents()[0]
	run := &checkpb.Run{Check: "disk", Instance: "set0", PlannedMs: time.Now().UnixMilli(), Results: []*checkpb.Result{
		{Item: "/data0", Metrics: []*checkpb.Metric{{Name: "free_bytes", Value: 1}}},
	}}
	o.Appended(a, fleet.RunID{Epoch: a.Epoch(), Sequence: 51}, run)
	o.Acked(fleet.Ack{Agent: a, Epoch: a.Epoch(), Decided: 51})
	err := o.Verify(t.Context(), c.Client)
	if err == nil {
		t.Fatal("a lost run was not found")
	}
	for _, want := range []string{"its newest result is critical: true", "/data0} is ok", "history lacks 1 samples of wacht_disk_free_bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}
