// Package metric collects the figures of a result, and leaves out what is no number.
package metric

import (
	"math"

	"github.com/wacht-io/wacht/checks"
)

// List is the figures of one result.
type List []checks.Metric

// Gauge adds a value that goes up and down. What is no finite number is left out,
// as every figure is that could not be had.
func (l *List) Gauge(name string, value float64, labels ...checks.Label) {
	l.add(checks.Metric{Name: name, Type: checks.Gauge, Labels: labels, Value: value})
}

// Counter adds a value that only rises.
func (l *List) Counter(name string, value float64, labels ...checks.Label) {
	l.add(checks.Metric{Name: name, Type: checks.Counter, Labels: labels, Value: value})
}

func (l *List) add(m checks.Metric) {
	if !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
		*l = append(*l, m)
	}
}
