package metric_test

import (
	"math"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
)

func TestList(t *testing.T) {
	var l metric.List
	l.Gauge("a", 1, checks.Label{Name: "x", Value: "y"})
	l.Counter("b", 2)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		l.Gauge("c", v)
		l.Counter("d", v)
	}
	if len(l) != 2 || l[0].Type != checks.Gauge || l[0].Labels[0].Value != "y" || l[1].Type != checks.Counter {
		t.Errorf("the list is %v", l)
	}
}
