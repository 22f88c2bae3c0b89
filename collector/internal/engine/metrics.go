package engine

import "github.com/prometheus/client_golang/prometheus"

// metrics are the engine's own figures.
type metrics struct {
	results, transitions, refused, gaps, samples prometheus.Counter
	commitErrors, archiveErrors                  prometheus.Counter
	commits                                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, e *Engine) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		results:       counter("wacht_collector_results_total", "Results decided, durably."),
		transitions:   counter("wacht_collector_transitions_total", "Changes of a rule's level."),
		refused:       counter("wacht_collector_runs_refused_total", "Runs that broke a limit or the protocol."),
		gaps:          counter("wacht_collector_runs_lost_total", "Runs that agents said will never come."),
		samples:       counter("wacht_collector_samples_total", "Samples archived in history, durably."),
		commitErrors:  counter("wacht_collector_commit_errors_total", "Commits that the store did not take at the first try."),
		archiveErrors: counter("wacht_collector_archive_errors_total", "Groups of samples that history did not take."),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wacht_collector_commit_seconds", Help: "Time that a durable commit took.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 14),
		}),
	}
	reg.MustRegister(m.commits)
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	gauge("wacht_collector_hosts", "Hosts known, not revoked, and not waiting for approval.", func() float64 { return e.count(func(h *host) int { return bit(!h.Pending) }) })
	gauge("wacht_collector_pending_hosts", "Hosts that joined and wait for approval.", func() float64 { return e.count(func(h *host) int { return bit(h.Pending) }) })
	gauge("wacht_collector_streams", "Hosts with an open stream.", func() float64 {
		return e.count(func(h *host) int { return bit(h.session != nil) })
	})
	gauge("wacht_collector_check_states", "Check states known.", func() float64 { return e.count(func(h *host) int { return h.states }) })
	gauge("wacht_collector_silent_hosts", "Hosts that should be heard of and are not.", func() float64 {
		return e.count(func(h *host) int { return bit(h.silent) })
	})
	gauge("wacht_collector_open_incidents", "Incidents of all customers that are open, people's reports among them.", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		n := 0
		for _, about := range e.openByHost() {
			n += about
		}
		return float64(n)
	})
	gauge("wacht_collector_queue_items", "Batches and steps that wait to be applied.", func() float64 { return float64(e.inbox.len()) })
	return m
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *Engine) count(of func(*host) int) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, h := range e.hosts {
		if h.RevokedAt.IsZero() {
			n += of(h)
		}
	}
	return float64(n)
}
