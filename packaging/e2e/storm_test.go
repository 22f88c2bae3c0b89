package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// A collector that is killed again and again under a stream holds what it
// acknowledged, has judged it once, and repeats few notices, under their keys.
func TestKillCollector(t *testing.T) {
	const agents, kills = 50, 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	o := collectortest.NewOracle(fleet.Breaches)
	r := collectortest.Receive(t, nil)
	p := collectortest.Spawn(t, collectortest.Options{Config: r.Config()})
	f := simulated(t, p, agents, o.Acked, o.Appended)
	load := &fleet.Load{
		States: 48, Results: 4, Metrics: 2, Every: 29,
		Start: time.Now().Add(-10 * time.Minute).Truncate(time.Second), Interval: time.Second,
	}
	if err := f.Drive(load); err != nil {
		t.Fatal(err)
	}
	var lives []int // how many notices had arrived when each kill was over
	for range kills {
		f.Flood(1) // each agent sends its next run when the one before is acknowledged
		time.Sleep(time.Duration(30+random.IntN(220)) * time.Millisecond)
		p.Kill()
		f.Flood(0)
		settled(t, r)
		lives = append(lives, len(r.Told()))
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
	told := r.Told()
	again := repeated(told)
	if err := o.VerifyTold(told, again); err != nil {
		t.Error(err)
	}
	for _, problem := range repeatsByLife(told, lives) {
		t.Error(problem)
	}
	in := o.Totals()
	t.Logf("%d kills under %d agents: %d runs, %d states, %d breaches; %d notices, of which %d came again under their key: %.2f a kill",
		kills, agents, in.Runs, in.States, in.Breaches, len(told), again, float64(again)/kills)
	if in.Breaches == 0 {
		t.Error("nothing breached")
	}
}

// settled waits until the last that the killed collector sent has been taken in.
func settled(t *testing.T, r *collectortest.Receiver) {
	t.Helper()
	before := -1
	for now := len(r.Told()); now != before; now = len(r.Told()) {
		before = now
		time.Sleep(20 * time.Millisecond)
	}
}

// repeatsByLife says what came again that should not have: no life of the collector
// tells a notice twice, and a kill repeats one notice at most, the one that was on its
// way. It may come again lives later, behind what the outbox holds, so that it counts for
// the kill that ended the life in which it came before. lives are how many notices had
// arrived at each kill.
func repeatsByLife(told []collectortest.Told, lives []int) (problems []string) {
	before := map[string]int{} // the life in which a notice came last
	interrupted := make([]int, len(lives)+1)
	from := 0
	for i, to := range append(slices.Clone(lives), len(told)) {
		for j := from; j < to; j++ {
			one := &told[j]
			switch life, again := before[one.Key]; {
			case again && life == i:
				problems = append(problems, fmt.Sprintf("after kill %d %s came twice: %s", i, one.Incident.Number, one.Event))
			case again:
				interrupted[life]++
			}
			before[one.Key] = i
		}
		from = to
	}
	for life, notices := range interrupted {
		if notices > 1 {
			problems = append(problems, fmt.Sprintf("kill %d repeated %d notices", life+1, notices))
		}
	}
	return problems
}

// repeated is how many arrivals had a key that came before.
func repeated(told []collectortest.Told) int {
	keys := map[string]bool{}
	for i := range told {
		keys[told[i].Key] = true
	}
	return len(told) - len(keys)
}

// simulated is a fleet that has joined and is connected.
func simulated(t *testing.T, p *collectortest.Process, n int, acked func(fleet.Ack), appended func(*fleet.Agent, fleet.RunID, *checkpb.Run)) *fleet.Fleet {
	t.Helper()
	token, err := p.Token(t.Context(), "example", "lab", n)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(fleet.Options{
		Agents: n, Address: p.AgentsAddr, Dir: t.TempDir(), OnDisk: true,
		Token:    func(context.Context, int) (string, error) { return token, nil },
		Appended: appended, Acked: acked,
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, f.Join)
	within(t, f.Start)
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	within(t, f.WaitConnected)
	return f
}

func within(t *testing.T, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatal(err)
	}
}
