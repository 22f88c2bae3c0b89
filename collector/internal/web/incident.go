package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
)

type incidentData struct {
	incident.Incident
	Why string
	// Respond and Resolve are both deadlines; Held says that one was met or missed.
	Respond, Resolve deadline
	// Lines is the timeline, newest first.
	Lines []incident.Entry
	// Actions are what can be done now, the likeliest first.
	Actions []string
	Text    string
	// Error is why the last action did not happen.
	Error string
}

func (s *site) incident(v *visit) error {
	in, err := s.Backend.Incident(v.r.Context(), v.in, v.r.PathValue("number"))
	if err != nil {
		return err
	}
	return s.showIncident(v, http.StatusOK, in, "", "")
}

func (s *site) showIncident(v *visit, status int, in incident.Incident, text, problem string) error {
	d := incidentData{Incident: in, Why: api.Why(in), Text: text, Error: problem, Lines: slices.Clone(in.Timeline)}
	slices.Reverse(d.Lines)
	if !in.RespondBy.IsZero() {
		d.Respond = deadlineAt("respond", in.OpenedAt, in.RespondBy, cmp.Or(in.RespondedAt, v.now))
	}
	if !in.ResolveBy.IsZero() {
		d.Resolve = deadlineAt("resolve", in.OpenedAt, in.ResolveBy, cmp.Or(in.ResolvedAt, v.now))
	}
	for _, a := range api.Actions() {
		if possible(v, &in, a) {
			d.Actions = append(d.Actions, a)
		}
	}
	return s.render(v, status, "incident", "incidents", in.Number+" "+in.Title, d)
}

// possible leaves out what would do nothing, besides what the desk refuses.
func possible(v *visit, in *incident.Incident, action string) bool {
	switch desk.Action(action) {
	case desk.Take:
		if in.Assignee == v.who.Name {
			return false
		}
	case desk.Reopen, desk.Close:
		if in.State != incident.Resolved {
			return false
		}
	case desk.Resolve:
		if in.State != incident.Open {
			return false
		}
	}
	return desk.Allows(in, desk.Action(action)) == nil
}

func (s *site) act(v *visit) error {
	number, do, text := v.r.PathValue("number"), v.r.PathValue("action"), v.r.PostFormValue("text")
	if !slices.Contains(api.Actions(), do) {
		return s.nothing(v)
	}
	_, err := s.Backend.Act(v.r.Context(), v.in, api.Action{Number: number, Do: do, By: v.who.Name, Text: text})
	switch status := api.Status(err); {
	case err == nil:
		return v.redirect("/incidents/" + url.PathEscape(number))
	case status == http.StatusConflict || status == http.StatusUnprocessableEntity:
		in, readErr := s.Backend.Incident(v.r.Context(), v.in, number)
		if readErr != nil {
			return readErr
		}
		return s.showIncident(v, status, in, text, err.Error())
	}
	return err
}

type reportData struct {
	api.Report
	Customers, Hosts, Kinds, Categories, Impacts, Urgencies []string
	Priorities                                              []matrixCell
	Error                                                   string
}

// matrixCell tells a reporter what an impact and an urgency come to.
type matrixCell struct{ Impact, Urgency, Priority string }

func (s *site) reportPage(v *visit) error {
	get := v.r.URL.Query().Get
	return s.showReport(v, http.StatusOK, api.Report{
		Customer: cmp.Or(get("customer"), v.in.Customer), Host: get("host"), Kind: "incident", Category: "other",
	}, "")
}

func (s *site) showReport(v *visit, status int, rep api.Report, problem string) error {
	d := reportData{
		Report: rep, Kinds: desk.Kinds(), Categories: desk.Categories(),
		Impacts: s.Level.Impacts(), Urgencies: s.Level.Urgencies(), Error: problem,
	}
	var err error
	if d.Customers, err = s.Backend.Customers(v.r.Context(), v.in); err != nil {
		return err
	}
	hosts, err := s.Backend.Hosts(v.r.Context(), v.in)
	if err != nil {
		return err
	}
	for i := range hosts {
		if !slices.Contains(d.Hosts, hosts[i].Name) {
			d.Hosts = append(d.Hosts, hosts[i].Name)
		}
	}
	for _, impact := range d.Impacts {
		for _, urgency := range d.Urgencies {
			if priority, err := s.Level.Priority(impact, urgency); err == nil {
				d.Priorities = append(d.Priorities, matrixCell{impact, urgency, priority})
			}
		}
	}
	return s.render(v, status, "report", "incidents", v.lang.text("report.title"), d)
}

func (s *site) report(v *visit) error {
	form := v.r.PostFormValue
	rep := api.Report{
		Title: form("title"), Description: form("description"), Customer: cmp.Or(form("customer"), v.in.Customer),
		Host: form("host"), Service: form("service"), Kind: form("kind"), Category: form("category"),
		Impact: form("impact"), Urgency: form("urgency"), Reporter: cmp.Or(form("reporter"), v.who.Name),
	}
	in, err := s.Backend.Report(v.r.Context(), v.in, rep)
	switch status := api.Status(err); {
	case err == nil:
		return v.redirect("/incidents/" + url.PathEscape(in.Number))
	case status == http.StatusNotFound:
		return s.showReport(v, http.StatusUnprocessableEntity, rep, v.lang.text("report.unknown"))
	case status == http.StatusUnprocessableEntity:
		return s.showReport(v, status, rep, err.Error())
	}
	return err
}
