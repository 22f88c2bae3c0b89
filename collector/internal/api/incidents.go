package api

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Actions are what can be done to an incident; each is an address below it.
func Actions() []string {
	return []string{string(desk.Take), string(desk.Comment), string(desk.Resolve), string(desk.Close), string(desk.Reopen)}
}

// incidentLine is an incident as it stands in a list: fields that readers sort and
// filter by are always there, the desk's own bookkeeping is not.
type incidentLine struct {
	incident.Incident
	Host       string     `json:"host"`
	Check      string     `json:"check"`
	Item       string     `json:"item"`
	Assignee   string     `json:"assignee"`
	Team       string     `json:"team"`
	RespondBy  *time.Time `json:"respond_by"`
	ResolveBy  *time.Time `json:"resolve_by"`
	ResolvedAt *time.Time `json:"resolved_at"`
}

// incidentDetail is an incident with its history and with the reason for it.
type incidentDetail struct {
	incidentLine
	Timeline []incident.Entry `json:"timeline"`
	// Why is the newest trace of a decision in the timeline.
	Why string `json:"why"`
}

type incidentList struct {
	Incidents []incidentLine `json:"incidents"`
	Next      string         `json:"next"`
}

func lineOf(in incident.Incident) incidentLine {
	l := incidentLine{
		Incident: in, Host: in.Host, Check: in.Check, Item: in.Item, Assignee: in.Assignee, Team: in.Team,
		RespondBy: known0(in.RespondBy), ResolveBy: known0(in.ResolveBy), ResolvedAt: known0(in.ResolvedAt),
	}
	l.Timeline, l.Clock, l.Told, l.Opens, l.QuietSince = nil, nil, nil, 0, time.Time{}
	return l
}

// known0 is nil for a time that is not known, which JSON writes as null.
func known0(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func detailOf(in incident.Incident) incidentDetail {
	d := incidentDetail{incidentLine: lineOf(in), Timeline: in.Timeline, Why: Why(in)}
	if d.Timeline == nil {
		d.Timeline = []incident.Entry{}
	}
	return d
}

// Why is the newest trace of a decision in an incident's timeline.
func Why(in incident.Incident) string {
	for i := len(in.Timeline) - 1; i >= 0; i-- {
		if why := in.Timeline[i].Why; why != "" {
			return why
		}
	}
	return ""
}

func (a *api) incidents(r *http.Request) (response, error) {
	q, err := incidentQuery(r)
	if err != nil {
		return response{}, err
	}
	_, sc := who(r)
	page, next, err := a.backend.Incidents(r.Context(), sc, q)
	if err != nil {
		return response{}, err
	}
	list := incidentList{Incidents: make([]incidentLine, 0, len(page)), Next: next}
	for i := range page {
		list.Incidents = append(list.Incidents, lineOf(page[i]))
	}
	return response{body: list}, nil
}

func (a *api) incident(r *http.Request) (response, error) {
	if err := known(r); err != nil {
		return response{}, err
	}
	_, sc := who(r)
	in, err := a.backend.Incident(r.Context(), sc, r.PathValue("number"))
	return response{body: detailOf(in)}, err
}

func (a *api) report(r *http.Request) (response, error) {
	var rep Report
	if err := errors.Join(known(r), decode(r, &rep)); err != nil {
		return response{}, err
	}
	p, sc := who(r)
	rep.Reporter = cmp.Or(rep.Reporter, p.Name)
	rep.Customer = cmp.Or(rep.Customer, sc.Customer)
	if rep.Customer == "" {
		return response{}, &failure{status: http.StatusUnprocessableEntity, field: "customer", detail: "name the customer whose incident it is"}
	}
	if sc.Customer != "" && rep.Customer != sc.Customer {
		return response{}, store.ErrNotFound
	}
	in, err := a.backend.Report(r.Context(), sc, rep)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusCreated, location: "/api/v1/incidents/" + url.PathEscape(in.Number), body: detailOf(in)}, nil
}

// act returns the answerer of one action. Its body holds a text; only a comment needs one.
func (a *api) act(do string) answerer {
	return func(r *http.Request) (response, error) {
		var body struct {
			Text string `json:"text"`
		}
		err := known(r)
		if err == nil && (r.ContentLength != 0 || do == string(desk.Comment)) {
			err = decode(r, &body)
		}
		if err != nil {
			return response{}, err
		}
		p, sc := who(r)
		in, err := a.backend.Act(r.Context(), sc, Action{Number: r.PathValue("number"), Do: do, By: p.Name, Text: body.Text})
		return response{body: detailOf(in)}, err
	}
}

type problemList struct {
	Problems []problem.Problem `json:"problems"`
}

func (a *api) problems(r *http.Request) (response, error) {
	if err := known(r, "state"); err != nil {
		return response{}, err
	}
	state := cmp.Or(r.URL.Query().Get("state"), "open")
	if state != "open" && state != "resolved" && state != "all" {
		return response{}, invalid("state", "there is no such state: use open, resolved, all")
	}
	_, sc := who(r)
	list, err := a.backend.Problems(r.Context(), sc, state)
	if list == nil {
		list = []problem.Problem{}
	}
	return response{body: problemList{list}}, err
}
