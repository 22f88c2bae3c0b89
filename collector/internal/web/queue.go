package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
)

type queueData struct {
	Query     api.IncidentQuery
	Rows      []row
	Customers []string
	States    []string
	// Priorities counts what is shown, the most pressing first.
	Priorities []priorityCount
	// Older leads to the next page, if there is one.
	Older string
	// Filtered says that something may be hidden by a filter.
	Filtered bool
	Status   string
}

type priorityCount struct {
	Name, When, Link string
	Count            int
	On               bool
}

// row is an incident and its clock.
type row struct {
	incident.Incident
	Clock deadline
}

// deadline is the next one of an incident.
type deadline struct {
	Goal string // respond, resolve or none
	By   time.Time
	Late bool
	// Near says that three quarters of the time are gone.
	Near bool
	// Spent is the part of the time that is gone, in percent.
	Spent int
}

func (s *site) queue(v *visit) error {
	get := v.r.URL.Query().Get
	q := api.IncidentQuery{
		State: cmp.Or(get("state"), "open"), Customer: get("customer"), Host: get("host"),
		Priority: get("priority"), Limit: api.DefaultLimit, Cursor: get("cursor"),
	}
	if !slices.Contains(api.States(), q.State) {
		q.State = "open"
	}
	if q.State == "open" && q.Cursor == "" {
		q.Limit = api.MaxLimit // the queue is sorted by what presses most, so it is read whole
	}
	page, next, err := s.Backend.Incidents(v.r.Context(), v.in, q)
	if err != nil {
		return err
	}
	customers, err := s.Backend.Customers(v.r.Context(), v.in)
	if err != nil {
		return err
	}
	d := queueData{
		Query: q, Customers: customers, States: api.States(),
		Filtered: q.State != "open" || q.Customer != "" || q.Host != "" || q.Priority != "",
	}
	for i := range page {
		d.Rows = append(d.Rows, row{page[i], clockOf(&page[i], v.now)})
	}
	if q.State == "open" {
		slices.SortStableFunc(d.Rows, pressing)
	}
	if next != "" {
		d.Older = v.with("cursor", next)
	}
	d.Priorities = s.priorities(v, q.Priority, page)
	d.Status = v.lang.count("queue.status."+q.State, len(page))
	return s.render(v, http.StatusOK, "queue", "incidents", v.lang.text("queue.title"), d)
}

func (s *site) priorities(v *visit, chosen string, page []incident.Incident) []priorityCount {
	var out []priorityCount
	for _, p := range s.Level.Priorities() {
		c := priorityCount{Name: p.Name, When: v.lang.word("priority", p.Name), On: p.Name == chosen, Link: v.with("priority", p.Name)}
		if c.On {
			c.Link = v.with("priority", "")
		}
		for i := range page {
			if page[i].Priority == p.Name {
				c.Count++
			}
		}
		out = append(out, c)
	}
	return out
}

// with is the page's address with one parameter changed.
func (v *visit) with(name, value string) string {
	q := v.r.URL.Query()
	q.Del("cursor")
	q.Set(name, value)
	for k, vs := range q {
		if strings.Join(vs, "") == "" {
			q.Del(k)
		}
	}
	u := url.URL{Path: v.r.URL.Path, RawQuery: q.Encode()}
	return u.String()
}

// pressing sorts by priority, then by what is due first; what has no deadline is last.
func pressing(a, b row) int {
	return cmp.Or(
		strings.Compare(a.Priority, b.Priority),
		due(a).Compare(due(b)),
		strings.Compare(a.Number, b.Number),
	)
}

func due(r row) time.Time {
	if r.Clock.By.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return r.Clock.By
}

// clockOf is the deadline that counts now: first for the response, then for the end.
func clockOf(in *incident.Incident, now time.Time) deadline {
	switch {
	case in.State != incident.Open:
		return deadline{Goal: "none"}
	case in.RespondedAt.IsZero() && !in.RespondBy.IsZero():
		return deadlineAt("respond", in.OpenedAt, in.RespondBy, now)
	case !in.ResolveBy.IsZero():
		return deadlineAt("resolve", in.OpenedAt, in.ResolveBy, now)
	}
	return deadline{Goal: "none"}
}

func deadlineAt(goal string, from, by, now time.Time) deadline {
	d := deadline{Goal: goal, By: by, Late: now.After(by), Spent: 100}
	if whole := by.Sub(from); whole > 0 && !d.Late {
		d.Spent = max(0, min(100, int(100*now.Sub(from)/whole)))
	}
	d.Near = !d.Late && d.Spent >= 75
	return d
}

func (s *site) problems(v *visit) error {
	state := v.r.URL.Query().Get("state")
	if state != "all" && state != "resolved" {
		state = "open"
	}
	list, err := s.Backend.Problems(v.r.Context(), v.in, state)
	if err != nil {
		return err
	}
	data := struct {
		State  string
		States []string
		List   []problem.Problem
	}{state, []string{"open", "resolved", "all"}, list}
	return s.render(v, http.StatusOK, "problems", "problems", v.lang.text("problems.title"), data)
}
