package engine

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Customers lists the customers that have hosts or tickets.
func (e *Engine) Customers() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]string, 0, len(e.desks))
	for c := range e.desks {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

// Hosts lists a customer's hosts by name; customer "" lists every customer's.
func (e *Engine) Hosts(customer string) []HostView {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []HostView
	open := e.openByHost()
	for _, h := range e.hosts {
		if customer == "" || h.Customer == customer {
			v := e.view(h)
			v.OpenIncidents = open[h.ID]
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b HostView) int {
		if c := compareText(a.Customer, b.Customer); c != 0 {
			return c
		}
		return compareText(a.Name, b.Name)
	})
	return out
}

// Host returns a host, by id or name, with its check states.
func (e *Engine) Host(customer, id string) (HostDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.hosts[id]
	if h == nil && customer != "" {
		h = e.named(customer, id)
	}
	if h == nil || (customer != "" && h.Customer != customer) {
		return HostDetail{}, fmt.Errorf("host %q: %w", id, store.ErrNotFound)
	}
	v := e.view(h)
	v.OpenIncidents = e.openByHost()[h.ID]
	return HostDetail{HostView: v, Checks: e.statesOf(h), Refused: slices.Clone(h.refused)}, nil
}

// openByHost counts open incidents.
func (e *Engine) openByHost() map[string]int {
	out := make(map[string]int)
	for _, d := range e.desks {
		for in := range d.Open() {
			out[in.Host]++
		}
	}
	return out
}

// openOf gives the numbers of a host's open incidents by check state.
func (e *Engine) openOf(h *host) map[desk.Key][]string {
	out := make(map[desk.Key][]string)
	if d := e.desks[h.Customer]; d != nil {
		for in := range d.Open() {
			if in.Host == h.ID {
				k := desk.Key{Host: in.Host, Check: in.Check, Instance: in.Instance, Item: in.Item}
				out[k] = append(out[k], in.Number)
			}
		}
	}
	return out
}

func (e *Engine) view(h *host) HostView {
	v := HostView{
		Host: h.Host, Silent: h.silent, LastSeen: h.mark.Seen, SkewSeconds: h.skew.Seconds(),
		Connected: h.session != nil && !h.session.out.isClosed(),
		States:    h.states, Findings: slices.Clone(h.findings),
	}
	for _, t := range h.tasks {
		for _, st := range t.states {
			switch st.level {
			case rules.Critical:
				v.Critical++
			case rules.Warning:
				v.Warning++
			}
			v.Level = worse(v.Level, st.level)
		}
	}
	return v
}

// severity orders levels for people: what is broken before what is not known.
var severity = map[rules.Level]int{rules.OK: 0, rules.Unknown: 1, rules.Stale: 2, rules.Warning: 3, rules.Critical: 4}

func worse(a, b rules.Level) rules.Level {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

func (e *Engine) statesOf(h *host) []StateView {
	out := make([]StateView, 0, h.states)
	open := e.openOf(h)
	for _, t := range h.tasks {
		for _, st := range t.states {
			v := st.view()
			v.Incidents = open[desk.Key{Host: h.ID, Check: t.check, Instance: t.instance, Item: st.item}]
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b StateView) int {
		if c := compareText(a.Check, b.Check); c != 0 {
			return c
		}
		if c := compareText(a.Instance, b.Instance); c != 0 {
			return c
		}
		return compareText(a.Item, b.Item)
	})
	return out
}

func (st *state) view() StateView {
	v := StateView{
		Check: st.task.check, Instance: st.task.instance, Item: st.item,
		Level: st.level, Since: st.since, Status: st.status, Summary: st.summary, Evidence: st.evidence, LastSeen: st.lastSeen,
	}
	for i, value := range st.values {
		v.Metrics = append(v.Metrics, metricView(st.task, st.shape.columns[i], value))
	}
	return v
}

func metricView(t *task, c rules.Column, value float64) MetricView {
	m := MetricView{Name: c.Name, Exposed: history.MetricName(t.check, c.Name), Type: checks.Gauge.String(), Value: value}
	if t.spec != nil {
		if d := t.spec.Metric(c.Name); d != nil {
			m.Type, m.Unit, m.Help = d.Type, d.Unit, d.Summary
		}
	}
	if len(c.Labels) > 0 {
		m.Labels = make(map[string]string, len(c.Labels))
		for _, l := range c.Labels {
			m.Labels[l.Name] = l.Value
		}
	}
	return m
}

// Incident returns a customer's incident by number.
func (e *Engine) Incident(ctx context.Context, customer, number string) (incident.Incident, error) {
	return incidentsTable.Get(ctx, e.opt.Store, customer, number)
}

// Incidents yields a customer's incidents of one state, or all when it is empty,
// newest first. Numbers below before are left out, when it is given.
func (e *Engine) Incidents(ctx context.Context, customer string, state incident.State, before string) iter.Seq2[incident.Incident, error] {
	rows := incidentsTable.Scan(ctx, e.opt.Store, customer, store.Range{To: before, Reverse: true})
	if state != "" {
		// Within one index key rows stand in the order of their own keys; the cursor
		// is applied below, since only open ones are many pages long in practice.
		r := exactly(string(state))
		r.Reverse = true
		rows = incidentsTable.ScanIndex(ctx, e.opt.Store, byState, customer, r)
	}
	return func(yield func(incident.Incident, error) bool) {
		for row, err := range rows {
			if err == nil && before != "" && row.Key >= before {
				continue
			}
			if !yield(row.Value, err) {
				return
			}
		}
	}
}

// Problems lists a customer's problems, newest first.
func (e *Engine) Problems(ctx context.Context, customer string) ([]problem.Problem, error) {
	var out []problem.Problem
	for row, err := range problemsTable.Scan(ctx, e.opt.Store, customer, store.Range{Reverse: true}) {
		if err != nil {
			return nil, fmt.Errorf("reading problems: %w", err)
		}
		out = append(out, row.Value)
	}
	return out, nil
}

// Transitions lists a host's newest transitions since a time, newest first.
func (e *Engine) Transitions(ctx context.Context, customer, hostID string, since time.Time, limit int) ([]TransitionView, error) {
	var out []TransitionView
	for row, err := range transitionsTable.Scan(ctx, e.opt.Store, customer, store.Range{Reverse: true}) {
		if err != nil {
			return nil, fmt.Errorf("reading transitions: %w", err)
		}
		if row.Value.At.Before(since) || len(out) == limit {
			break
		}
		if row.Value.Host == hostID {
			out = append(out, row.Value)
		}
	}
	return out, nil
}
