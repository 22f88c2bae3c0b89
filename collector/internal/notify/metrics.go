package notify

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the sender, each with the label channel.
type metrics struct {
	attempts *prometheus.CounterVec
	pending  *prometheus.GaugeVec
	seconds  *prometheus.HistogramVec
	records  prometheus.Counter
}

// The values of the label result.
const (
	sent   = "sent"
	failed = "failed"
	dead   = "dead"
)

func newMetrics(r prometheus.Registerer, channels []string) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wacht_notify_deliveries_total",
			Help: "Attempts at deliveries by result: sent, failed and to be tried again, or dead.",
		}, []string{"channel", "result"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wacht_notify_pending", Help: "Deliveries that are neither sent nor dead.",
		}, []string{"channel"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wacht_notify_delivery_seconds",
			Help:    "Time from the decision to tell to the channel's acceptance.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30, 300, 3600, 86400},
		}, []string{"channel"}),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wacht_notify_record_failures_total",
			Help: "Commits of what was sent that failed; a restart before the next success sends again.",
		}),
	}
	for _, c := range channels {
		m.pending.WithLabelValues(c)
		m.seconds.WithLabelValues(c)
		for _, result := range []string{sent, failed, dead} {
			m.attempts.WithLabelValues(c, result)
		}
	}
	return m, errors.Join(r.Register(m.attempts), r.Register(m.pending), r.Register(m.seconds), r.Register(m.records))
}
