package promapi

import (
	"errors"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"

	"github.com/wacht-io/wacht/checks"
)

// PrometheusVersion is the release of Prometheus whose query engine this is. Clients
// choose by it which functions they may use.
const PrometheusVersion = "3.10.0"

// Metadata describes a metric as Prometheus' /api/v1/metadata does.
type Metadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

func (h *handler) metadata(r *http.Request) (answer, error) {
	limit, err := numberParam(r, "limit")
	if err != nil {
		return answer{}, err
	}
	if _, err := numberParam(r, "limit_per_metric"); err != nil {
		return answer{}, err // each metric has one description
	}
	all := describe(h.specs())
	found := map[string][]Metadata{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if limit >= 0 && len(found) >= limit {
			break
		}
		if only := r.FormValue("metric"); only == "" || only == name {
			found[name] = []Metadata{all[name]}
		}
	}
	return plain(found), nil
}

func numberParam(r *http.Request, name string) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badData(errors.New(name + " must be a number"))
	}
	return n, nil
}

func describe(specs []*checks.Spec) map[string]Metadata {
	all := map[string]Metadata{}
	for _, spec := range specs {
		for _, m := range spec.Metrics {
			name := "wacht_" + spec.Name + "_" + m.Name
			if _, described := all[name]; !described {
				all[name] = Metadata{Type: m.Type, Help: m.Summary, Unit: m.Unit}
			}
		}
	}
	return all
}

func (*handler) buildInfo(*http.Request) (answer, error) {
	return plain(map[string]string{
		"version": PrometheusVersion, "revision": "", "branch": "", "buildUser": "", "buildDate": "",
		"goVersion": runtime.Version(),
	}), nil
}
