package promapi

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// tidy leaves out those of the query engine's metrics that promtool check metrics
// refuses: a histogram that has its type in its name. The summary beside it has the
// same figures.
type tidy struct{ prometheus.Registerer }

// MustRegister implements prometheus.Registerer.
func (r tidy) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if !namesItsType(c) {
			r.Registerer.MustRegister(c)
		}
	}
}

func namesItsType(c prometheus.Collector) bool {
	descs := make(chan *prometheus.Desc, 1)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	found := false
	for d := range descs {
		found = found || strings.Contains(d.String(), "_histogram_")
	}
	return found
}

// registerer is what the query engine registers with, nil for nothing.
func registerer(r prometheus.Registerer) prometheus.Registerer {
	if r == nil {
		return nil
	}
	return tidy{r}
}
