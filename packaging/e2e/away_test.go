package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// After a day without a collector the agents' spools drain in order into history,
// and of all that broke and was mended in that day nothing becomes an incident: only
// what is broken now does.
func TestCollectorAwayForADay(t *testing.T) {
	const agents = 3
	o := collectortest.NewOracle(fleet.Breaches)
	r := collectortest.Receive(t, nil)
	p := collectortest.Spawn(t, collectortest.Options{Config: r.Config()})
	load := &fleet.Load{
		States: 12, Results: 4, Metrics: 2, Every: 13,
		Start: time.Now().Add(-24 * time.Hour).Truncate(time.Minute), Interval: time.Minute,
	}
	order := &ordered{of: o, newest: map[string]uint64{}}
	f := simulated(t, p, agents, order.acked, o.Appended)
	if err := f.Drive(load); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	runs := 24 * 60 * load.Tasks()
	if err := f.Once(runs); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	began := time.Now()
	within(t, f.WaitArchived)
	took := time.Since(began)
	if err := o.Verify(t.Context(), p.Client); err != nil {
		t.Error(err)
	}
	for _, problem := range order.problems {
		t.Error(problem)
	}
	bad := broken(load, agents, runs)
	within(t, func(ctx context.Context) error { return toldOf(ctx, r, len(bad)) })
	incidents, err := p.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range incidents {
		if in := &incidents[i]; !bad[in.HostName+in.Item] || in.State != "open" || in.Occurrences != 1 {
			t.Errorf("an incident of the day: %s about %s of %s, %s, %d occurrences", in.Number, in.Item, in.HostName, in.State, in.Occurrences)
		}
	}
	if len(incidents) != len(bad) || len(r.Told()) != len(bad) {
		t.Errorf("%d incidents and %d notices for %d items that are broken now", len(incidents), len(r.Told()), len(bad))
	}
	t.Logf("a day of %d agents, %d runs with %d breaches, drained in %s: %d incidents, as many as there are broken items now",
		agents, agents*runs, o.Totals().Breaches, seconds(took), len(incidents))
}

// broken are the items that the newest result of each finds broken.
func broken(l *fleet.Load, agents, runs int) map[string]bool {
	out := map[string]bool{}
	for agent := range agents {
		for n := runs - l.Tasks(); n < runs; n++ {
			for _, res := range l.Run(agent, n).GetResults() {
				if fleet.Breaches(res) {
					out[fmt.Sprintf("sim-%04d%s", agent, res.GetItem())] = true
				}
			}
		}
	}
	return out
}

// toldOf waits for a number of notices.
func toldOf(ctx context.Context, r *collectortest.Receiver, n int) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for len(r.Told()) < n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d notices of %d: %w", len(r.Told()), n, ctx.Err())
		}
	}
	return nil
}

// ordered demands that each lane's acknowledgements only rise.
type ordered struct {
	of *collectortest.Oracle

	mu       sync.Mutex
	newest   map[string]uint64
	problems []string
}

func (o *ordered) acked(ack fleet.Ack) {
	o.of.Acked(ack)
	o.mu.Lock()
	defer o.mu.Unlock()
	key := fmt.Sprint(ack.Agent.Index(), ack.Epoch, ack.Lane)
	if ack.Archived < o.newest[key] {
		o.problems = append(o.problems, fmt.Sprintf("agent %d: lane %v fell back from %d to %d", ack.Agent.Index(), ack.Lane, o.newest[key], ack.Archived))
	}
	o.newest[key] = ack.Archived
}
