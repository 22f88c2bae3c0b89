// Package api is the collector's JSON interface for people's programs, described in
// its OpenAPI document, and the sign-in that it shares with the pages.
package api

import (
	"context"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/engine"
)

// Scope is what a signed-in person may see: one customer, or all when Customer is
// empty. It comes from the session or token, never from the request.
type Scope struct {
	Customer string
}

// IncidentQuery selects incidents. Empty fields select everything; Customer can
// only narrow what the scope allows.
type IncidentQuery struct {
	State    string // open, resolved, closed or all; empty is open
	Customer string
	Host     string
	Priority string
	Limit    int    // 1 to 500; 0 is 100
	Cursor   string // as the page before gave it
}

// Report is a person's report of an interruption, a question or a request.
type Report struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Customer    string `json:"customer"`
	Site        string `json:"site,omitempty"`
	Host        string `json:"host,omitempty"`
	Service     string `json:"service,omitempty"`
	Kind        string `json:"kind,omitempty"`     // incident (default), question, request, change-request
	Category    string `json:"category,omitempty"` // other by default
	Impact      string `json:"impact"`
	Urgency     string `json:"urgency"`
	Reporter    string `json:"reporter"`
}

// Action is what a person does to an incident.
type Action struct {
	Number string
	Do     string // take, comment, resolve, close, reopen
	By     string
	Text   string
}

// Backend is the running collector as API and pages see it. What is not there, or
// belongs to a customer out of scope, is store.ErrNotFound or desk.ErrNotFound; an
// action that does not fit the incident's state is desk.ErrWrongState; a report, action
// or cursor that can't be read is desk.ErrInvalid. The texts of the last two say what
// to do and are shown to people.
type Backend interface {
	// Customers lists the customers in scope, in order.
	Customers(ctx context.Context, sc Scope) ([]string, error)
	// Incidents lists incidents, newest first.
	Incidents(ctx context.Context, sc Scope, q IncidentQuery) (page []incident.Incident, next string, err error)
	Incident(ctx context.Context, sc Scope, number string) (incident.Incident, error)
	Report(ctx context.Context, sc Scope, r Report) (incident.Incident, error)
	Act(ctx context.Context, sc Scope, a Action) (incident.Incident, error)
	Problems(ctx context.Context, sc Scope, state string) ([]problem.Problem, error)
	Hosts(ctx context.Context, sc Scope) ([]engine.HostView, error)
	Host(ctx context.Context, sc Scope, id string) (engine.HostDetail, error)
	Revoke(ctx context.Context, sc Scope, id, by string) error
	// Approve lets a host in that waits for it.
	Approve(ctx context.Context, sc Scope, id, by string) error
	// Transitions gives a host's newest transitions, newest first.
	Transitions(ctx context.Context, sc Scope, host string, since time.Time, limit int) ([]engine.TransitionView, error)
	// Ready says why the collector can't do its work, or nil.
	Ready(ctx context.Context) error
}
