package collector

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// backend shows the engine, which knows customers, to API and pages, which know
// what a person may see.
type backend struct{ engine *engine.Engine }

// within lists the customers that a scope allows and a query asks for.
func (b backend) within(sc api.Scope, wanted string) []string {
	switch {
	case sc.Customer == "" && wanted == "":
		return b.engine.Customers()
	case sc.Customer == "" || wanted == "" || sc.Customer == wanted:
		return []string{cmp.Or(sc.Customer, wanted)}
	}
	return nil
}

// Customers lists the customers that a scope allows.
func (b backend) Customers(_ context.Context, sc api.Scope) ([]string, error) {
	return b.within(sc, ""), nil
}

const defaultPage = 100

func (b backend) Incidents(ctx context.Context, sc api.Scope, q api.IncidentQuery) ([]incident.Incident, string, error) {
	state := incident.State(cmp.Or(q.State, string(incident.Open)))
	if state == "all" {
		state = ""
	}
	limit := cmp.Or(q.Limit, defaultPage)
	var page []incident.Incident
	for _, customer := range b.within(sc, q.Customer) {
		found := 0
		for in, err := range b.engine.Incidents(ctx, customer, state, q.Cursor) {
			if err != nil {
				return nil, "", fmt.Errorf("listing incidents of customer %s: %w", customer, err)
			}
			if !matches(&in, &q) {
				continue
			}
			page = append(page, in)
			// One more than fits tells that there is a next page.
			if found++; found > limit {
				break
			}
		}
	}
	slices.SortFunc(page, func(a, b incident.Incident) int { return cmp.Compare(b.Number, a.Number) })
	if len(page) <= limit {
		return page, "", nil
	}
	return page[:limit], page[limit-1].Number, nil
}

func matches(in *incident.Incident, q *api.IncidentQuery) bool {
	return (q.Priority == "" || in.Priority == q.Priority) &&
		(q.Host == "" || in.Host == q.Host || in.HostName == q.Host)
}

// find looks a ticket up among the customers of a scope; numbers are the
// collector's own, so at most one has it.
func find[T any](b backend, sc api.Scope, get func(customer string) (T, error)) (T, string, error) {
	var none T
	for _, c := range b.within(sc, "") {
		v, err := get(c)
		if err == nil || !isNotFound(err) {
			return v, c, err
		}
	}
	return none, "", store.ErrNotFound
}

func (b backend) Incident(ctx context.Context, sc api.Scope, number string) (incident.Incident, error) {
	in, _, err := find(b, sc, func(c string) (incident.Incident, error) { return b.engine.Incident(ctx, c, number) })
	return in, err
}

func (b backend) Report(ctx context.Context, sc api.Scope, r api.Report) (incident.Incident, error) {
	if sc.Customer != "" && r.Customer != sc.Customer {
		return incident.Incident{}, fmt.Errorf("customer %q: %w", r.Customer, store.ErrNotFound)
	}
	return b.engine.Report(ctx, r.Customer, desk.Report{
		Title: r.Title, Description: r.Description, Customer: r.Customer, Site: r.Site, Host: r.Host, Service: r.Service,
		Reporter: r.Reporter, Impact: r.Impact, Urgency: r.Urgency, Kind: r.Kind, Category: r.Category,
	})
}

func (b backend) Act(ctx context.Context, sc api.Scope, a api.Action) (incident.Incident, error) {
	_, customer, err := find(b, sc, func(c string) (incident.Incident, error) { return b.engine.Incident(ctx, c, a.Number) })
	if err != nil {
		return incident.Incident{}, err
	}
	return b.engine.Act(ctx, customer, desk.Act{Number: a.Number, By: a.By, Action: desk.Action(a.Do), Text: a.Text})
}

func (b backend) Problems(ctx context.Context, sc api.Scope, state string) ([]problem.Problem, error) {
	var out []problem.Problem
	for _, c := range b.within(sc, "") {
		ps, err := b.engine.Problems(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			if state == "all" || string(p.State) == cmp.Or(state, string(problem.Open)) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b problem.Problem) int { return cmp.Compare(b.Number, a.Number) })
	return out, nil
}

func (b backend) Hosts(_ context.Context, sc api.Scope) ([]engine.HostView, error) {
	return b.engine.Hosts(sc.Customer), nil
}

func (b backend) Host(_ context.Context, sc api.Scope, id string) (engine.HostDetail, error) {
	return b.hostOf(sc, id)
}

func (b backend) Revoke(ctx context.Context, sc api.Scope, id, by string) error {
	h, err := b.hostOf(sc, id)
	if err != nil {
		return err
	}
	return b.engine.Revoke(ctx, h.Customer, h.ID, by)
}

func (b backend) Approve(ctx context.Context, sc api.Scope, id, by string) error {
	h, err := b.hostOf(sc, id)
	if err != nil {
		return err
	}
	return b.engine.Approve(ctx, h.Customer, h.ID, by)
}

func (b backend) Transitions(ctx context.Context, sc api.Scope, host string, since time.Time, limit int) ([]engine.TransitionView, error) {
	h, err := b.hostOf(sc, host)
	if err != nil {
		return nil, err
	}
	return b.engine.Transitions(ctx, h.Customer, h.ID, since, limit)
}

func (b backend) Ready(context.Context) error { return b.engine.Ready() }
