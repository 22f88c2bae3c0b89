//go:build linux

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// BenchmarkTold measures from the moment at which an agent spools a critical result to
// the arrival of its webhook: network, rules, desk and the commit of the incident with
// its notice lie between. First on an idle collector, then with half of the results
// that it can take from all other hosts; those make incidents too, but tell nobody.
func BenchmarkTold(b *testing.B) {
	p := &probe{b: b, waiting: map[string]chan time.Time{}}
	p.receiver = collectortest.Receive(b, p.arrived)
	s := joined(b).start(b, p.receiver.Config("probe"))
	p.join(s)
	for b.Loop() {
		idle := p.times(200, 10*time.Millisecond)
		b.Logf("idle: told in %s (median), %s (99 %%) of %d", ms(quantile(idle, 0.5)), ms(quantile(idle, 0.99)), len(idle))
		l := load(10)
		s.connect()
		s.report(l)
		full := s.flooded(2*time.Second, 6*time.Second)
		rate := float64(full.Runs) / full.Seconds / 2
		busy, half := p.under(s, rate)
		b.Logf("at %.0f results/s, half of %.0f: told in %s (median), %s (99 %%) of %d; %s", float64(half.Results)/half.Seconds,
			float64(full.Results)/full.Seconds, ms(quantile(busy, 0.5)), ms(quantile(busy, 0.99)), len(busy), shares(half.from, half.to))
		b.ReportMetric(quantile(idle, 0.5).Seconds()*1000, "median-ms-idle")
		b.ReportMetric(quantile(busy, 0.99).Seconds()*1000, "p99-ms-at-half")
		b.ReportMetric(0, "ns/op")
	}
}

// probe is one host whose breaches are told.
type probe struct {
	b        *testing.B
	fleet    *fleet.Fleet
	receiver *collectortest.Receiver
	count    int

	mu      sync.Mutex
	waiting map[string]chan time.Time // by item
}

func (p *probe) join(s *side) {
	token, err := s.collector.Token(p.b.Context(), "probe", "lab", 1)
	if err != nil {
		p.b.Fatal(err)
	}
	p.fleet, err = fleet.New(fleet.Options{
		Agents: 1, Address: s.collector.AgentsAddr, Dir: filepath.Join(p.b.TempDir(), "probe"),
		Hostname: func(int) string { return "probe" },
		Token:    func(context.Context, int) (string, error) { return token, nil },
	})
	if err != nil {
		p.b.Fatal(err)
	}
	within(p.b, time.Minute, p.fleet.Join)
	within(p.b, time.Minute, p.fleet.Start)
	p.b.Cleanup(func() {
		if err := p.fleet.Stop(); err != nil {
			p.b.Error(err)
		}
	})
	within(p.b, time.Minute, p.fleet.WaitConnected)
}

func (p *probe) arrived(t collectortest.Told) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.waiting[t.Incident.Item]; c != nil {
		delete(p.waiting, t.Incident.Item)
		c <- t.At
	}
}

// times breaches n items that there were not before, one after the other, and returns
// how long each took to be told, ascending.
func (p *probe) times(n int, pause time.Duration) []time.Duration {
	var out []time.Duration
	for range n {
		p.count++
		item, told := fmt.Sprintf("/probe%d", p.count), make(chan time.Time, 1)
		p.mu.Lock()
		p.waiting[item] = told
		p.mu.Unlock()
		sent := time.Now()
		if _, err := p.fleet.Agents()[0].Append(breach(item, sent)); err != nil {
			p.b.Fatal(err)
		}
		select {
		case at := <-told:
			out = append(out, at.Sub(sent))
		case <-time.After(20 * time.Second):
			p.b.Fatalf("nobody was told of %s", item)
		}
		time.Sleep(pause)
	}
	slices.Sort(out)
	return out
}

// under measures while all other hosts send runs at a rate a second.
func (p *probe) under(s *side, rate float64) ([]time.Duration, stretch) {
	const long = 15 * time.Second
	told := make(chan []time.Duration, 1)
	go func() {
		time.Sleep(2 * time.Second)
		told <- p.times(300, 30*time.Millisecond)
	}()
	half := s.paced(rate, 2*time.Second, long)
	return <-told, half
}

// breach is a run of one full disk; it says nothing of others.
func breach(item string, at time.Time) *checkpb.Run {
	const size = 100 << 30
	return &checkpb.Run{
		Check: "disk", Instance: "probe", PlannedMs: at.UnixMilli(), NextWithinMs: 10 * 60_000,
		Results: []*checkpb.Result{{Item: item, Summary: "1 GiB of 100 GiB is free", Metrics: []*checkpb.Metric{
			{Name: "size_bytes", Value: size}, {Name: "free_bytes", Value: size / 100}, {Name: "free_ratio", Value: 0.01},
		}}},
	}
}

func quantile(sorted []time.Duration, part float64) time.Duration {
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}
