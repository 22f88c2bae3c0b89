//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// The hosts of a small MSP. Each reports its states again and again, as fast as the
// benchmark asks: 1 % of the results is a transition.
const (
	hosts         = 500
	statesPerHost = 50
	metrics       = 3
	breachEvery   = 200 // a breach and its recovery are two transitions
)

// base is a collector's data folder and the agents' folder once all have joined.
type base struct{ dir string }

func (w base) data(dir string) string   { return filepath.Join(dir, "collector") }
func (w base) agents(dir string) string { return filepath.Join(dir, "agents") }

// joined has all agents join once; each benchmark begins with a copy.
func joined(b *testing.B) base {
	w := base{dir: b.TempDir()}
	c := collectortest.Spawn(b, collectortest.Options{DataDir: w.data(w.dir)})
	began := time.Now()
	f := newFleet(b, c, w.agents(w.dir))
	within(b, time.Minute, f.Join)
	b.Logf("%d hosts joined in %.1f s", hosts, time.Since(began).Seconds())
	c.Stop()
	return w
}

// side is a collector in its process and the fleet in this one.
type side struct {
	b         *testing.B
	collector *collectortest.Process
	fleet     *fleet.Fleet
}

// start begins a collector on a copy of the folder, without its agents.
func (w base) start(b *testing.B, config string) *side {
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		b.Fatal(err)
	}
	s := &side{b: b, collector: collectortest.Spawn(b, collectortest.Options{DataDir: w.data(dir), Config: config})}
	s.fleet = newFleet(b, s.collector, w.agents(dir))
	return s
}

// connect brings all agents in.
func (s *side) connect() {
	s.b.Helper()
	within(s.b, time.Minute, s.fleet.Join)
	within(s.b, time.Minute, s.fleet.Start)
	s.b.Cleanup(func() {
		if err := s.fleet.Stop(); err != nil {
			s.b.Error(err)
		}
	})
	within(s.b, time.Minute, s.fleet.WaitConnected)
}

func newFleet(b *testing.B, c *collectortest.Process, dir string) *fleet.Fleet {
	b.Helper()
	token, err := c.Token(b.Context(), "bench", "lab", hosts)
	if err != nil {
		b.Fatal(err)
	}
	f, err := fleet.New(fleet.Options{
		Agents: hosts, Address: c.AgentsAddr, Dir: dir,
		Token: func(context.Context, int) (string, error) { return token, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// load is what each host reports with so many results a run.
func load(perMessage int) *fleet.Load {
	return &fleet.Load{
		States: statesPerHost, Results: perMessage, Metrics: metrics, Every: breachEvery,
		// Ticks run faster than time, and stay in the past.
		Start: time.Now().Add(-10 * time.Minute).Truncate(time.Second), Interval: 100 * time.Millisecond,
	}
}

// report has every state reported once, and returns when all of it is in history.
func (s *side) report(l *fleet.Load) {
	s.b.Helper()
	if err := s.fleet.Drive(l); err != nil {
		s.b.Fatal(err)
	}
	if err := s.fleet.Once(l.Tasks()); err != nil {
		s.b.Fatal(err)
	}
	within(s.b, time.Minute, s.fleet.WaitArchived)
}

// flooded measures with every agent sending its next run when the one before is
// acknowledged.
func (s *side) flooded(warm, long time.Duration) stretch {
	s.fleet.Flood(1)
	time.Sleep(warm)
	f := s.measured(long)
	s.fleet.Flood(0)
	within(s.b, time.Minute, s.fleet.WaitDecided)
	return f
}

// paced measures at a rate of runs a second.
func (s *side) paced(rate float64, warm, long time.Duration) stretch {
	ctx, cancel := context.WithCancel(s.b.Context())
	done := make(chan error, 1)
	go func() { done <- s.fleet.Pace(ctx, rate) }()
	time.Sleep(warm)
	f := s.measured(long)
	cancel()
	if err := <-done; err != nil {
		s.b.Fatal(err)
	}
	within(s.b, time.Minute, s.fleet.WaitDecided)
	return f
}

// stretch is what happened in a stretch of time.
type stretch struct {
	fleet.Figures

	from, to      moment
	written       int64 // bytes to disk
	before, after map[string]float64
}

// rose is by how much one of the collector's counters did.
func (s *stretch) rose(name string) float64 { return s.after[name] - s.before[name] }

func (s *side) measured(long time.Duration) stretch {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), long)
	defer cancel()
	out := stretch{before: s.metrics(), from: now(s.b, s.collector), written: -s.collector.UsageNow().Written}
	out.Figures = s.fleet.Measure(ctx)
	out.to, out.after = now(s.b, s.collector), s.metrics()
	out.written += s.collector.UsageNow().Written
	return out
}

func (s *side) metrics() map[string]float64 {
	s.b.Helper()
	m, err := s.collector.Metrics(s.b.Context())
	if err != nil {
		s.b.Fatal(err)
	}
	return m
}

// profile writes profiles of both processes until stop is called, when asked for.
func (s *side) profile() (stop func()) {
	dir := os.Getenv("WACHT_BENCH_PROFILE")
	if dir == "" {
		return func() {}
	}
	name := filepath.Join(dir, strings.ReplaceAll(s.b.Name(), "/", "_"))
	f, err := os.Create(name + ".agents.cpu")
	if err != nil {
		s.b.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		s.b.Fatal(err)
	}
	stopped := s.collector.Profile(name + ".collector.cpu")
	return func() {
		stopped()
		pprof.StopCPUProfile()
		s.collector.Heap(name + ".collector.heap")
		_ = f.Close()
	}
}

// trace writes an execution trace of the collector until stop is called, when profiles
// are asked for.
func (s *side) trace() (stop func()) {
	dir := os.Getenv("WACHT_BENCH_PROFILE")
	if dir == "" {
		return func() {}
	}
	return s.collector.Trace(filepath.Join(dir, strings.ReplaceAll(s.b.Name(), "/", "_")+".collector.trace"))
}

func within(b *testing.B, d time.Duration, do func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	if err := do(ctx); err != nil {
		b.Fatal(err)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
