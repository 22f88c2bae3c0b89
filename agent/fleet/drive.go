package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Drive gives every agent its runs from a load, counted from where the last Drive of
// the same load ended. Nothing is appended before Flood, Pace or Once.
func (f *Fleet) Drive(l *Load) error {
	if err := l.Validate(); err != nil {
		return err
	}
	for _, a := range f.agents {
		a.mu.Lock()
		if a.source == nil || a.source.load != l {
			a.source = newSource(l, a.index, 0)
		}
		a.mu.Unlock()
	}
	return nil
}

// Once appends n runs of each agent's source.
func (f *Fleet) Once(n int) error {
	for _, a := range f.agents {
		for range n {
			if err := a.appendNext(time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Agent) appendNext(due time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.append(a.source.run(), due)
	return err
}

// Flood keeps window runs of each agent on their way: the next is appended when one
// is acknowledged as decided. With a window of 1 each message holds one run. It ends
// with Flood(0).
func (f *Fleet) Flood(window int) {
	for _, a := range f.agents {
		a.mu.Lock()
		a.window = window
		a.mu.Unlock()
		a.refill()
	}
}

func (a *Agent) refill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.sent) < a.window {
		if _, err := a.append(a.source.run(), time.Now()); err != nil {
			a.fleet.opts.Logger.Error("a simulated run can't be spooled", "error", err)
			return
		}
	}
}

// paceStep is how often Pace looks which runs are due.
const paceStep = time.Millisecond

// Pace appends runs at a rate a second over all agents, in turn and evenly, whether
// or not those before are acknowledged, until ctx ends.
func (f *Fleet) Pace(ctx context.Context, rate float64) error {
	ticker := time.NewTicker(paceStep)
	defer ticker.Stop()
	began, n := time.Now(), 0
	for {
		for ; ; n++ {
			due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			if time.Now().Before(due) {
				break
			}
			if err := f.agents[n%len(f.agents)].appendNext(due); err != nil {
				return fmt.Errorf("appending run %d: %w", n, err)
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// meterSlot holds the meter that runs now, if any.
type meterSlot = atomic.Pointer[meter]

// meter gathers what was decided in a stretch of time.
type meter struct {
	began time.Time

	mu      sync.Mutex
	runs    int
	results int
	took    []time.Duration
}

func (m *meter) add(s *sent, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	m.results += s.results
	if !s.at.Before(m.began) {
		m.took = append(m.took, now.Sub(s.at))
	}
}

// Figures are what Measure saw.
type Figures struct {
	Seconds       float64
	Runs, Results int
	// Latencies are from a run's time to be sent until its acknowledgement as decided,
	// ascending, of the runs that were both sent and acknowledged in the time.
	Latencies []time.Duration
	// Sent and Received are bytes over all connections.
	Sent, Received int64
}

// Measure counts what is decided until ctx ends.
func (f *Fleet) Measure(ctx context.Context) Figures {
	m := &meter{began: time.Now()}
	sent, received := f.Bytes()
	f.meter.Store(m)
	<-ctx.Done()
	f.meter.Store(nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	out := Figures{Seconds: time.Since(m.began).Seconds(), Runs: m.runs, Results: m.results, Latencies: m.took}
	slices.Sort(out.Latencies)
	s, r := f.Bytes()
	out.Sent, out.Received = s-sent, r-received
	return out
}

// Quantile is the latency that a part of all did not exceed, 0 without any.
func (f *Figures) Quantile(part float64) time.Duration {
	if len(f.Latencies) == 0 {
		return 0
	}
	return f.Latencies[min(len(f.Latencies)-1, int(part*float64(len(f.Latencies))))]
}
