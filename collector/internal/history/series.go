package history

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/wacht-io/wacht/checks"
)

// Subject says what a series is about: one check state.
type Subject struct {
	// Customer, Site and Host are the ids that the collector knows them by.
	Customer, Site, Host string
	// Check is the kind of check; Instance is the name of a variant of it, or empty.
	// Together they make the label check: http, or http/webshop.
	Check, Instance string
	Item            string
}

// Series is a handle on one series of a Store that remembers where the TSDB keeps
// it. It is not safe for concurrent use.
type Series struct {
	labels     labels.Labels
	ref        storage.SeriesRef
	generation uint64
}

// MetricName returns the name by which Prometheus knows a metric of a check.
func MetricName(check, metric string) string { return "wacht_" + check + "_" + metric }

// Series returns a handle on the series that has SeriesLabels.
func (*Store) Series(metric string, of Subject, own ...checks.Label) *Series {
	return &Series{labels: SeriesLabels(MetricName(of.Check, metric), of, own...)}
}

// SeriesLabels returns name{customer,site,host,check,item} and the metric's own
// labels. A label of the metric that has one of those names becomes exported_<name>, as
// Prometheus does it when it scrapes.
func SeriesLabels(name string, of Subject, own ...checks.Label) labels.Labels {
	check := of.Check
	if of.Instance != "" {
		check += "/" + of.Instance
	}
	all := append(make([]labels.Label, 0, 6+len(own)),
		labels.Label{Name: model.MetricNameLabel, Value: name},
		labels.Label{Name: "customer", Value: of.Customer},
		labels.Label{Name: "site", Value: of.Site},
		labels.Label{Name: "host", Value: of.Host},
		labels.Label{Name: "check", Value: check},
		labels.Label{Name: "item", Value: of.Item},
	)
	for _, l := range own {
		all = append(all, labels.Label{Name: freeName(all, l.Name), Value: l.Value})
	}
	// A label without a value is, to Prometheus, a label that is not there.
	all = slices.DeleteFunc(all, func(l labels.Label) bool { return l.Value == "" })
	for i := range all {
		all[i].Value = strings.ToValidUTF8(all[i].Value, "\uFFFD")
	}
	return labels.New(all...)
}

// freeName returns a name for a label that no label of taken has.
func freeName(taken []labels.Label, name string) string {
	for slices.ContainsFunc(taken, func(l labels.Label) bool { return l.Name == name }) {
		name = "exported_" + name
	}
	return name
}

// String writes the series as PromQL would select it.
func (s *Series) String() string { return s.labels.String() }
