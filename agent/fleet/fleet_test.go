package fleet_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
	"github.com/wacht-io/wacht/checks/checkpb"
)

func load() *fleet.Load {
	return &fleet.Load{States: 6, Results: 2, Metrics: 3, Every: 20, Start: time.Unix(1e9, 0), Interval: time.Second}
}

// record keeps what the hooks tell, by agent.
type record struct {
	mu       sync.Mutex
	appended map[int][]fleet.RunID
	decided  map[int]uint64
}

func (r *record) Appended(a *fleet.Agent, id fleet.RunID, _ *checkpb.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.appended[a.Index()] = append(r.appended[a.Index()], id)
}

func (r *record) Acked(ack fleet.Ack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decided[ack.Agent.Index()] = max(r.decided[ack.Agent.Index()], ack.Decided)
}

func (r *record) of(a *fleet.Agent) (appended int, decided uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.appended[a.Index()]), r.decided[a.Index()]
}

func newFleet(t *testing.T, c *uplinktest.Collector, dir string, tokens *int) (*fleet.Fleet, *record) {
	t.Helper()
	r := &record{appended: map[int][]fleet.RunID{}, decided: map[int]uint64{}}
	var mu sync.Mutex
	f, err := fleet.New(fleet.Options{
		Agents: 3, Address: "collector", Dir: dir, Appended: r.Appended, Acked: r.Acked,
		Dial: c.Dial,
		Token: func(context.Context, int) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			*tokens++
			return c.Token(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, r
}

func do(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	for _, step := range steps {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dir, tokens := uplinktest.New(t), t.TempDir(), 0
		f, r := newFleet(t, c, dir, &tokens)
		do(t, f.Join, f.Start, f.WaitConnected)
		if err := f.Drive(load()); err != nil {
			t.Fatal(err)
		}
		if err := f.Once(3); err != nil {
			t.Fatal(err)
		}
		do(t, f.WaitArchived)
		for _, a := range f.Agents() {
			appended, decided := r.of(a)
			if n := len(c.Host(a.HostID()).Runs); n != 3 || appended != 3 || decided != 3 {
				t.Errorf("of agent %d %d runs arrived, %d were appended, %d acknowledged", a.Index(), n, appended, decided)
			}
		}
		if sent, received := f.Bytes(); sent == 0 || received == 0 || f.Connected() != 3 {
			t.Errorf("%d bytes sent, %d received, %d agents connected", sent, received, f.Connected())
		}
		if err := f.Stop(); err != nil {
			t.Fatal(err)
		}
		first := f.Agents()[2].HostID()
		again, _ := newFleet(t, c, dir, &tokens)
		do(t, again.Join, again.Start, again.WaitConnected)
		if tokens != 3 || again.Agents()[2].HostID() != first {
			t.Errorf("%d tokens were asked for; agent 2 was %s and is %s", tokens, first, again.Agents()[2].HostID())
		}
		if err := again.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Runs that are under way when the connection breaks count as decided later, also when
// only the next Welcome says so.
func TestFleetThroughCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := uplinktest.New(t), 0
		f, _ := newFleet(t, c, t.TempDir(), &tokens)
		do(t, f.Join, f.Start, f.WaitConnected)
		if err := f.Drive(load()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			c.Set(func(c *uplinktest.Collector) { c.Hold = true })
			if err := f.Once(1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			c.Cut()
			c.Set(func(c *uplinktest.Collector) { c.Hold = false })
			do(t, f.WaitDecided)
		}
		do(t, f.WaitArchived)
		for _, a := range f.Agents() {
			if host := c.Host(a.HostID()); len(host.Runs) < 20 || len(host.Gaps) > 0 {
				t.Errorf("of agent %d %d runs arrived, with gaps %v", a.Index(), len(host.Runs), host.Gaps)
			}
		}
		if err := f.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPaceAndMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := uplinktest.New(t), 0
		f, _ := newFleet(t, c, t.TempDir(), &tokens)
		do(t, f.Join, f.Start, f.WaitConnected)
		if err := f.Drive(load()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		paced := make(chan error, 1)
		go func() { paced <- f.Pace(ctx, 30) }()
		time.Sleep(time.Second)
		span, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		got := f.Measure(span)
		cancel()
		if err := <-paced; err != nil {
			t.Fatal(err)
		}
		if got.Runs < 299 || got.Runs > 301 || got.Results != 2*got.Runs || got.Sent == 0 || got.Quantile(1) > paceLimit {
			t.Errorf("%d runs with %d results in %.1f s, the slowest in %v", got.Runs, got.Results, got.Seconds, got.Quantile(1))
		}
		if err := f.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// paceLimit is how late a run may be in a bubble's time: the step of Pace, and the
// wait for the flush of a message.
const paceLimit = 5 * time.Millisecond

func TestFloodKeepsItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := uplinktest.New(t), 0
		f, _ := newFleet(t, c, t.TempDir(), &tokens)
		do(t, f.Join, f.Start, f.WaitConnected)
		if err := f.Drive(load()); err != nil {
			t.Fatal(err)
		}
		c.Set(func(c *uplinktest.Collector) { c.Hold = true })
		f.Flood(4)
		synctest.Wait()
		for _, a := range f.Agents() {
			if a.Pending() != 4 {
				t.Errorf("agent %d has %d runs under way", a.Index(), a.Pending())
			}
		}
		f.Flood(0)
		c.Set(func(c *uplinktest.Collector) { c.Hold = false })
		c.Cut()
		do(t, f.WaitDecided, f.WaitArchived)
		if err := f.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLoad(t *testing.T) {
	l := load()
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]bool{}
	transitions, results := 0, 0
	for n := range 3 * 200 {
		run := l.Run(1, n)
		if !proto.Equal(run, l.Run(1, n)) {
			t.Fatalf("run %d is another each time", n)
		}
		if at := run.GetPlannedMs() - l.Start.UnixMilli(); at != int64(n/3)*1000 {
			t.Fatalf("run %d is planned %d ms after the start", n, at)
		}
		for _, r := range run.GetResults() {
			results++
			if fleet.Breaches(r) != bad[r.GetItem()] {
				bad[r.GetItem()] = !bad[r.GetItem()]
				transitions++
			}
		}
	}
	if len(bad) != 6 || results != 1200 || transitions < 110 || transitions > 120 {
		t.Errorf("%d transitions in %d results of %d states", transitions, results, len(bad))
	}
}

func TestLoadInvalid(t *testing.T) {
	for _, change := range []func(*fleet.Load){
		func(l *fleet.Load) { l.Results = 4 },
		func(l *fleet.Load) { l.Results = 0 },
		func(l *fleet.Load) { l.Metrics = 6 },
		func(l *fleet.Load) { l.Interval = 0 },
		func(l *fleet.Load) { l.Start = time.Time{} },
	} {
		l := load()
		change(l)
		if l.Validate() == nil {
			t.Errorf("%+v is taken for valid", l)
		}
	}
}
