package api

import (
	"context"
	"math"
	"net/http"
	"slices"

	"github.com/wacht-io/wacht/collector/internal/engine"
)

type hostList struct {
	Hosts []engine.HostView `json:"hosts"`
}

func (a *api) hosts(r *http.Request) (response, error) {
	if err := known(r); err != nil {
		return response{}, err
	}
	_, sc := who(r)
	list, err := a.backend.Hosts(r.Context(), sc)
	out := hostList{Hosts: make([]engine.HostView, 0, len(list))}
	for i := range list {
		out.Hosts = append(out.Hosts, public(list[i]))
	}
	return response{body: out}, err
}

func (a *api) host(r *http.Request) (response, error) {
	if err := known(r); err != nil {
		return response{}, err
	}
	_, sc := who(r)
	d, err := a.backend.Host(r.Context(), sc, r.PathValue("id"))
	d.HostView = public(d.HostView)
	checks := make([]engine.StateView, 0, len(d.Checks))
	for i := range d.Checks {
		checks = append(checks, finite(d.Checks[i]))
	}
	d.Checks = checks
	return response{body: d}, err
}

// public leaves out what only tells machines apart at their joining: the hardware's
// serial numbers, digested or not, are the customer's.
func public(v engine.HostView) engine.HostView {
	v.Fingerprint = nil
	return v
}

// finite leaves out the figures that could not be had: JSON has no word for NaN.
func finite(v engine.StateView) engine.StateView {
	v.Metrics = slices.DeleteFunc(slices.Clone(v.Metrics), func(m engine.MetricView) bool {
		return math.IsNaN(m.Value) || math.IsInf(m.Value, 0)
	})
	return v
}

func (a *api) revoke(r *http.Request) (response, error) {
	return a.admit(r, "host.revoke", a.backend.Revoke)
}

func (a *api) approve(r *http.Request) (response, error) {
	return a.admit(r, "host.approve", a.backend.Approve)
}

// admit decides whether a host may come in, and records who did.
func (a *api) admit(r *http.Request, action string, do func(ctx context.Context, sc Scope, id, by string) error) (response, error) {
	if err := known(r); err != nil {
		return response{}, err
	}
	p, sc := who(r)
	host, err := a.backend.Host(r.Context(), sc, r.PathValue("id"))
	if err != nil {
		return response{}, err
	}
	if err := do(r.Context(), sc, host.ID, p.Name); err != nil {
		return response{}, err
	}
	return response{status: http.StatusNoContent}, a.auth.Record(r.Context(), p, action, host.ID, host.Customer, "name "+host.Name)
}
