// Package apitest has a Backend in memory: real desks with a real service level, and
// hosts as a test puts them there.
package apitest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Backend is an api.Backend. It is safe for concurrent use.
type Backend struct {
	mu          sync.Mutex
	desks       map[string]*desk.Desk
	incidents   map[string]incident.Incident
	problems    map[string]problem.Problem
	hosts       map[string]engine.HostDetail
	transitions []engine.TransitionView // oldest first
	numbers     numbers
	notReady    error
}

var _ api.Backend = (*Backend)(nil)

type numbers struct{ incidents, problems int }

// NextIncident implements desk.Numbers.
func (n *numbers) NextIncident() string {
	n.incidents++
	return fmt.Sprintf("INC-%06d", n.incidents)
}

// NextProblem implements desk.Numbers.
func (n *numbers) NextProblem() string {
	n.problems++
	return fmt.Sprintf("PRB-%06d", n.problems)
}

// New returns a Backend with desks for customers, and nothing on them.
func New(customers ...string) *Backend {
	b := &Backend{
		desks:     make(map[string]*desk.Desk),
		incidents: make(map[string]incident.Incident),
		problems:  make(map[string]problem.Problem),
		hosts:     make(map[string]engine.HostDetail),
	}
	for _, c := range customers {
		b.desks[c] = desk.New(desk.Config{}, c)
	}
	return b
}

// PutHost adds a host or replaces the one of that id. Its counts and level are the
// test's to set.
func (b *Backend) PutHost(h engine.HostDetail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hosts[h.ID] = h
}

// PutTransition adds a line to a customer's record. It must be the newest.
func (b *Backend) PutTransition(t engine.TransitionView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.transitions = append(b.transitions, t)
}

// SetReady says why the collector can't do its work, or that it can.
func (b *Backend) SetReady(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notReady = err
}

// Handle lets a customer's desk deal with an event at a time, and keeps what changed.
func (b *Backend) Handle(customer string, at time.Time, ev desk.Event) (desk.Effects, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.handle(customer, at, ev)
}

func (b *Backend) handle(customer string, at time.Time, ev desk.Event) (desk.Effects, error) {
	d := b.desks[customer]
	if d == nil {
		return desk.Effects{}, fmt.Errorf("customer %q: %w", customer, store.ErrNotFound)
	}
	effects, err := d.Handle(at, &b.numbers, ev)
	if err != nil {
		return effects, err
	}
	for _, in := range effects.Incidents {
		in.Customer = customer
		b.incidents[in.Number] = in
	}
	for _, p := range effects.Problems {
		p.Customer = customer
		b.problems[p.Number] = p
	}
	return effects, nil
}

func in(sc api.Scope, customer string) bool {
	return sc.Customer == "" || sc.Customer == customer
}

// Customers implements api.Backend.
func (b *Backend) Customers(_ context.Context, sc api.Scope) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Sorted(maps.Keys(b.desks))
	return slices.DeleteFunc(out, func(c string) bool { return !in(sc, c) }), nil
}

// Incidents implements api.Backend. Its cursor is the last number of the page before.
func (b *Backend) Incidents(_ context.Context, sc api.Scope, q api.IncidentQuery) (page []incident.Incident, next string, err error) {
	if q.Cursor != "" && !strings.HasPrefix(q.Cursor, "INC-") {
		return nil, "", fmt.Errorf("%w cursor: use the one that the page before gave", desk.ErrInvalid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := cmp.Or(q.Limit, api.DefaultLimit)
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(b.incidents))) {
		i := b.incidents[number]
		if !in(sc, i.Customer) || !selects(q, &i) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].Number, nil
		}
		page = append(page, i)
	}
	return page, "", nil
}

func selects(q api.IncidentQuery, i *incident.Incident) bool {
	state := cmp.Or(q.State, "open")
	return (state == "all" || state == string(i.State)) &&
		(q.Customer == "" || q.Customer == i.Customer) &&
		(q.Host == "" || q.Host == i.Host || q.Host == i.HostName) &&
		(q.Priority == "" || q.Priority == i.Priority) &&
		(q.Cursor == "" || i.Number < q.Cursor)
}

// Incident implements api.Backend.
func (b *Backend) Incident(_ context.Context, sc api.Scope, number string) (incident.Incident, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.incident(sc, number)
}

func (b *Backend) incident(sc api.Scope, number string) (incident.Incident, error) {
	i, ok := b.incidents[number]
	if !ok || !in(sc, i.Customer) {
		return incident.Incident{}, fmt.Errorf("incident %q: %w", number, store.ErrNotFound)
	}
	return i, nil
}

// Report implements api.Backend.
func (b *Backend) Report(_ context.Context, sc api.Scope, r api.Report) (incident.Incident, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	report := desk.Report{
		Title: r.Title, Description: r.Description, Customer: r.Customer, Site: r.Site, Service: r.Service,
		Kind: r.Kind, Category: r.Category, Impact: r.Impact, Urgency: r.Urgency, Reporter: r.Reporter,
	}
	if r.Host != "" {
		h, err := b.host(api.Scope{Customer: r.Customer}, r.Host)
		if err != nil {
			return incident.Incident{}, err
		}
		report.Host, report.HostName, report.Site = h.ID, h.Name, h.Site
	}
	if !in(sc, r.Customer) {
		return incident.Incident{}, fmt.Errorf("customer %q: %w", r.Customer, store.ErrNotFound)
	}
	effects, err := b.handle(r.Customer, time.Now(), report)
	if err != nil {
		return incident.Incident{}, err
	}
	return effects.Incidents[0], nil
}

// Act implements api.Backend.
func (b *Backend) Act(_ context.Context, sc api.Scope, a api.Action) (incident.Incident, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.incident(sc, a.Number)
	if err != nil {
		return i, err
	}
	if err := desk.Allows(&i, desk.Action(a.Do)); err != nil {
		return i, err
	}
	act := desk.Act{Number: a.Number, By: a.By, Action: desk.Action(a.Do), Text: a.Text}
	if _, err := b.handle(i.Customer, time.Now(), act); err != nil {
		return i, err
	}
	return b.incidents[a.Number], nil
}

// Problems implements api.Backend.
func (b *Backend) Problems(_ context.Context, sc api.Scope, state string) ([]problem.Problem, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []problem.Problem
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(b.problems))) {
		p := b.problems[number]
		if in(sc, p.Customer) && (state == "all" || cmp.Or(state, "open") == string(p.State)) {
			out = append(out, p)
		}
	}
	return out, nil
}

// Hosts implements api.Backend.
func (b *Backend) Hosts(_ context.Context, sc api.Scope) ([]engine.HostView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []engine.HostView
	for _, h := range b.hosts {
		if in(sc, h.Customer) {
			out = append(out, b.withOpen(h).HostView)
		}
	}
	slices.SortFunc(out, func(x, y engine.HostView) int {
		return cmp.Or(strings.Compare(x.Customer, y.Customer), strings.Compare(x.Name, y.Name))
	})
	return out, nil
}

// Host implements api.Backend.
func (b *Backend) Host(_ context.Context, sc api.Scope, id string) (engine.HostDetail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, err := b.host(sc, id)
	return b.withOpen(h), err
}

func (b *Backend) host(sc api.Scope, id string) (engine.HostDetail, error) {
	for _, h := range b.hosts {
		if (h.ID == id || h.Name == id) && in(sc, h.Customer) {
			return h, nil
		}
	}
	return engine.HostDetail{}, fmt.Errorf("host %q: %w", id, store.ErrNotFound)
}

// withOpen adds the open incidents about a host and its check states.
func (b *Backend) withOpen(h engine.HostDetail) engine.HostDetail {
	h.Checks = slices.Clone(h.Checks)
	for _, number := range slices.Sorted(maps.Keys(b.incidents)) {
		i := b.incidents[number]
		if i.Host != h.ID || i.State != incident.Open {
			continue
		}
		h.OpenIncidents++
		for n := range h.Checks {
			if c := &h.Checks[n]; c.Check == i.Check && c.Instance == i.Instance && c.Item == i.Item {
				c.Incidents = append(slices.Clip(c.Incidents), number)
			}
		}
	}
	return h
}

// Revoke implements api.Backend.
func (b *Backend) Revoke(_ context.Context, sc api.Scope, id, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, err := b.host(sc, id)
	if err != nil || !h.RevokedAt.IsZero() {
		return err
	}
	h.RevokedAt, h.Connected, h.Checks, h.States = time.Now().UTC(), false, nil, 0
	b.hosts[h.ID] = h
	_, err = b.handle(h.Customer, h.RevokedAt, desk.HostRevoked{Host: h.ID, HostName: h.Name, By: by})
	return err
}

// Approve implements api.Backend.
func (b *Backend) Approve(_ context.Context, sc api.Scope, id, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, err := b.host(sc, id)
	switch {
	case err != nil || !h.Pending:
		return err
	case !h.RevokedAt.IsZero():
		return fmt.Errorf("host %s was revoked: %w", h.Name, desk.ErrWrongState)
	}
	h.Pending, h.ApprovedAt, h.ApprovedBy = false, time.Now().UTC(), by
	b.hosts[h.ID] = h
	return nil
}

// Transitions implements api.Backend.
func (b *Backend) Transitions(_ context.Context, sc api.Scope, host string, since time.Time, limit int) ([]engine.TransitionView, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.host(sc, host); err != nil {
		return nil, err
	}
	var out []engine.TransitionView
	for _, t := range slices.Backward(b.transitions) {
		if len(out) == limit || t.At.Before(since) {
			break
		}
		if t.Host == host {
			out = append(out, t)
		}
	}
	return out, nil
}

// Ready implements api.Backend.
func (b *Backend) Ready(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notReady
}
