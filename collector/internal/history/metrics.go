package history

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// metrics is what the store tells of itself. It passes on the TSDB's own metrics,
// which start anew with each generation.
type metrics struct {
	samples                                        *prometheus.CounterVec
	appended, tooOld, duplicate, future, notNumber prometheus.Counter
	failures, damaged                              prometheus.Counter
	tsdb                                           tsdbCollector
}

func newMetrics() *metrics {
	m := &metrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wacht_history_samples_total",
			Help: "Samples by what became of them: appended, too_old, duplicate, future or not_a_number.",
		}, []string{"outcome"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wacht_history_failures_total",
			Help: "Failures to write history after which its files were reopened.",
		}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wacht_history_damaged_total",
			Help: "Blocks and logs of history that could not be read and were set aside.",
		}),
	}
	m.appended = m.samples.WithLabelValues("appended")
	m.tooOld = m.samples.WithLabelValues("too_old")
	m.duplicate = m.samples.WithLabelValues("duplicate")
	m.future = m.samples.WithLabelValues("future")
	m.notNumber = m.samples.WithLabelValues("not_a_number")
	return m
}

func (m *metrics) committed(c Counts) {
	m.appended.Add(float64(c.Appended))
	m.tooOld.Add(float64(c.TooOld))
	m.duplicate.Add(float64(c.Duplicates))
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.samples, m.failures, m.damaged, &m.tsdb}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range m.collectors() {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

// tsdbCollector collects from the registry of the newest generation. It describes
// nothing beforehand, which makes it an unchecked collector.
type tsdbCollector struct {
	registry atomic.Pointer[prometheus.Registry]
}

// Describe implements prometheus.Collector.
func (*tsdbCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *tsdbCollector) Collect(ch chan<- prometheus.Metric) {
	if r := c.registry.Load(); r != nil {
		r.Collect(ch)
	}
}

// failureTap is a Registerer that remembers one counter, so that its value can be
// read without gathering all.
type failureTap struct {
	prometheus.Registerer
	name    string
	mu      sync.Mutex
	counter prometheus.Collector
}

// Register implements prometheus.Registerer.
func (t *failureTap) Register(c prometheus.Collector) error {
	t.look(c)
	return t.Registerer.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (t *failureTap) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		t.look(c)
	}
	t.Registerer.MustRegister(cs...)
}

func (t *failureTap) look(c prometheus.Collector) {
	descs := make(chan *prometheus.Desc, 64)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for d := range descs {
		if strings.Contains(d.String(), `"`+t.name+`"`) {
			t.mu.Lock()
			t.counter = c
			t.mu.Unlock()
		}
	}
}

// check returns an error once the counter has counted a failure.
func (t *failureTap) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counter == nil {
		return nil
	}
	ch := make(chan prometheus.Metric, 1)
	t.counter.Collect(ch)
	var m dto.Metric
	if err := (<-ch).Write(&m); err != nil {
		return fmt.Errorf("reading %s: %w", t.name, err)
	}
	if m.GetCounter().GetValue() > 0 {
		return errors.New("the log of out-of-order samples could not be written")
	}
	return nil
}

// corruptions returns how often the TSDB found a log damaged and repaired it.
func corruptions(r prometheus.Gatherer) float64 {
	families, err := r.Gather()
	if err != nil {
		return 0
	}
	var n float64
	for _, f := range families {
		switch f.GetName() {
		case "prometheus_tsdb_wal_corruptions_total", "prometheus_tsdb_mmap_chunk_corruptions_total":
			n += f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return n
}
