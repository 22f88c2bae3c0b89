package expose

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

func (h *handler) hostMetrics(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	host, states, err := h.Source.Latest(r.Context(), h.customer, id)
	if errors.Is(err, ErrUnknownHost) || (err == nil && !h.sees(host)) {
		http.Error(w, ErrUnknownHost.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		h.fail(w, "the values of host "+id, err)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	body, err := encode(format, h.families(host, states))
	if err != nil {
		h.fail(w, "the values of host "+id, err)
		return
	}
	w.Header().Set("Content-Type", string(format))
	h.write(w, body)
}

func encode(format expfmt.Format, all []*dto.MetricFamily) ([]byte, error) {
	var buf bytes.Buffer
	enc := expfmt.NewEncoder(&buf, format)
	for _, f := range all {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", f.GetName(), err)
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			return nil, fmt.Errorf("ending the metrics: %w", err)
		}
	}
	return buf.Bytes(), nil
}

// families returns a host's metrics by name.
func (h *handler) families(host Host, states []State) []*dto.MetricFamily {
	x := &exposition{host: host, families: map[string]*dto.MetricFamily{}, seen: map[string]bool{}}
	x.about()
	for _, s := range states {
		x.state(s)
		// Of what came too long ago only this is told: that, and since when.
		if s.Level == rules.Stale {
			continue
		}
		x.status(s)
		for _, m := range s.Metrics {
			x.metric(s, m)
		}
	}
	return slices.SortedFunc(maps.Values(x.families), func(a, b *dto.MetricFamily) int {
		return strings.Compare(a.GetName(), b.GetName())
	})
}

// exposition collects the metrics of one host.
type exposition struct {
	host     Host
	families map[string]*dto.MetricFamily
	seen     map[string]bool // series that are there already
}

// declaration is what a metric family says of itself.
type declaration struct {
	name, help, unit string
	kind             dto.MetricType
}

func gauge(name, help string) declaration {
	return declaration{name: name, help: help, kind: dto.MetricType_GAUGE}
}

func (x *exposition) subject(s State) history.Subject {
	return history.Subject{
		Customer: x.host.Customer, Site: x.host.Site, Host: x.host.Name,
		Check: s.Check, Instance: s.Instance, Item: s.Item,
	}
}

// about tells of the host itself.
func (x *exposition) about() {
	of := x.subject(State{})
	x.add(gauge("wacht_host_info", "Always 1; the labels say what is known of the host."), of, 1,
		checks.Label{Name: "host_id", Value: x.host.ID}, checks.Label{Name: "role", Value: x.host.Role}, checks.Label{Name: "os", Value: x.host.OS})
	x.add(gauge("wacht_host_connected", "1 while the host's agent has a stream to the collector, otherwise 0."), of, number(x.host.Connected))
	x.add(gauge("wacht_host_silent", "1 while the host should be heard of and is not, otherwise 0."), of, number(x.host.Silent))
	x.add(gauge("wacht_host_open_incidents", "Incidents about the host that are open."), of, float64(x.host.OpenIncidents))
	x.time("wacht_host_last_seen_timestamp_seconds", "When the last result of the host came.", of, x.host.LastSeen)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (x *exposition) state(s State) {
	of := x.subject(s)
	x.add(gauge("wacht_check_level", "What the rules say of the check state: 0 ok, 1 warning, 2 critical, 3 unknown, 4 stale."), of, float64(s.Level))
	x.time("wacht_check_last_seen_timestamp_seconds", "When the last result of the check state came.", of, s.LastSeen)
}

func (x *exposition) status(s State) {
	x.add(gauge("wacht_check_status", "Status of the newest result: 0 ok, 1 warning, 2 critical, 3 unknown."), x.subject(s), float64(s.Status))
}

func (x *exposition) time(name, help string, of history.Subject, t time.Time) {
	if !t.IsZero() {
		x.add(declaration{name: name, help: help, unit: "seconds", kind: dto.MetricType_GAUGE}, of, float64(t.UnixMilli())/1000)
	}
}

func (x *exposition) metric(s State, m Metric) {
	d := declaration{
		name: history.MetricName(s.Check, m.Name),
		help: cmp.Or(m.Help, fmt.Sprintf("Metric %s of check %s.", m.Name, s.Check)),
		unit: m.Unit,
		kind: dto.MetricType_GAUGE,
	}
	if m.Type == checks.Counter {
		d.kind = dto.MetricType_COUNTER
	}
	x.add(d, x.subject(s), m.Value, m.Labels...)
}

// add adds one value. What Prometheus would refuse is left out: it would refuse the
// whole host for it.
func (x *exposition) add(d declaration, of history.Subject, v float64, own ...checks.Label) {
	if !model.LegacyValidation.IsValidMetricName(d.name) {
		return
	}
	all := history.SeriesLabels(d.name, of, own...)
	key := all.String()
	if x.seen[key] || !legacy(all) {
		return
	}
	x.seen[key] = true
	f := x.family(d)
	m := &dto.Metric{Label: pairs(all)}
	if f.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &v}
	} else {
		m.Gauge = &dto.Gauge{Value: &v}
	}
	f.Metric = append(f.Metric, m)
}

// family returns the family of a name; the first that uses the name declares it.
func (x *exposition) family(d declaration) *dto.MetricFamily {
	if f := x.families[d.name]; f != nil {
		return f
	}
	help := strings.ToValidUTF8(d.help, "\uFFFD")
	f := &dto.MetricFamily{Name: &d.name, Help: &help, Type: &d.kind}
	if d.unit != "" && strings.HasSuffix(strings.TrimSuffix(d.name, "_total"), "_"+d.unit) {
		f.Unit = &d.unit // the format has units only where the name shows them
	}
	x.families[d.name] = f
	return f
}

func legacy(all labels.Labels) bool {
	ok := true
	all.Range(func(l labels.Label) { ok = ok && model.LegacyValidation.IsValidLabelName(l.Name) })
	return ok
}

func pairs(all labels.Labels) []*dto.LabelPair {
	var out []*dto.LabelPair
	all.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			out = append(out, &dto.LabelPair{Name: &l.Name, Value: &l.Value})
		}
	})
	return out
}
