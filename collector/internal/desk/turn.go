package desk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
)

// turn is the handling of one event: what it has changed so far.
type turn struct {
	d       *Desk
	now     time.Time
	num     Numbers
	tickets []*ticket
	changed []*problem.Problem
	fx      Effects
}

func (d *Desk) turn(now time.Time, num Numbers) *turn {
	return &turn{d: d, now: now.UTC().Round(0), num: num}
}

// touch marks a ticket as one that the event is about.
func (t *turn) touch(tk *ticket) {
	if !slices.Contains(t.tickets, tk) {
		t.tickets = append(t.tickets, tk)
	}
}

func (t *turn) touchProblem(p *problem.Problem) {
	if !slices.Contains(t.changed, p) {
		t.changed = append(t.changed, p)
	}
}

// end sets timers and returns whole copies of what changed.
func (t *turn) end() Effects {
	for _, tk := range t.tickets {
		t.fx.Incidents = append(t.fx.Incidents, tk.copy())
		if tk.State == incident.Closed {
			t.d.forget(tk)
		} else {
			t.d.schedule(tk)
		}
	}
	for _, p := range t.changed {
		t.fx.Problems = append(t.fx.Problems, *p)
		t.d.scheduleProblem(p)
	}
	return t.fx
}

// why records what became of an event, or of a part of it.
func (t *turn) why(k Key, decision, number, format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	t.fx.Why = append(t.fx.Why, Why{
		At: t.now, Host: k.Host, Check: k.Check, Instance: k.Instance, Item: k.Item, Rule: k.Rule,
		Decision: decision, Number: number, Text: text,
	})
}

// tell adds a notice about a ticket as it is now.
func (t *turn) tell(tk *ticket, event, reason string) {
	in := tk.copy()
	t.fx.Notices = append(t.fx.Notices, Notice{
		Key:      in.Number + ":" + strconv.Itoa(in.Revision) + ":" + event,
		Event:    event,
		At:       t.now,
		Incident: in,
		Lines:    t.lines(&in, event, reason),
	})
}

// tellProblem adds a notice about a problem as it is now. What is told of it is its
// beginning and its end: it is planned, and has no clock to be told of.
func (t *turn) tellProblem(p *problem.Problem, event string) {
	told := *p
	t.fx.Notices = append(t.fx.Notices, Notice{
		Key:     p.Number + ":" + strconv.Itoa(p.Revision) + ":" + event,
		Event:   event,
		At:      t.now,
		Problem: &told,
		Lines:   t.problemLines(&told, event),
	})
}

func (t *turn) problemLines(p *problem.Problem, event string) []string {
	lines := []string{fmt.Sprintf("%s %s %s: %s (%s)", p.Priority, p.Number, headings[event], p.Title, where(p.Customer, p.Site, p.HostName))}
	reason := p.Why
	if p.State == problem.Resolved {
		reason = strings.TrimSuffix(endings[p.Ending]+": "+p.Why, ": ")
	}
	if reason != "" {
		lines = append(lines, reason)
	}
	if p.State == problem.Open && p.ReachedAt.After(t.now) {
		day := p.ReachedAt.In(t.d.cfg.Level.Location()).Format("Mon 2 Jan 2006")
		lines = append(lines, fmt.Sprintf("The limit is reached on %s, if it goes on like this; the trend fits to %.0f %% (R²)", day, 100*p.Confidence))
	}
	return lines
}

// endings say in words how something ended.
var endings = map[string]string{
	incident.Fixed:       "Fixed",
	incident.NotObserved: "No longer observed, which is not to say that it was fixed",
}

// where joins what is known of a place.
func where(places ...string) string {
	return strings.Join(slices.DeleteFunc(places, func(s string) bool { return s == "" }), ", ")
}

func (t *turn) lines(in *incident.Incident, event, reason string) []string {
	place := where(in.Customer, in.Site, in.HostName, in.Service)
	lines := []string{fmt.Sprintf("%s %s %s: %s (%s)", in.Priority, in.Number, headings[event], in.Title, place)}
	if reason != "" {
		lines = append(lines, reason)
	}
	if in.State == incident.Open {
		if in.RespondedAt.IsZero() && !in.RespondBy.IsZero() {
			lines = append(lines, "Respond by "+t.d.local(in.RespondBy))
		}
		if !in.ResolveBy.IsZero() {
			lines = append(lines, "Resolve by "+t.d.local(in.ResolveBy))
		}
	}
	return lines
}

// headings are what notices call their events.
var headings = map[string]string{
	incident.Opened:        "opened",
	incident.Reopened:      "is back",
	incident.WasResolved:   "resolved",
	incident.Reprioritised: "has a new priority",
	incident.RespondNear:   "needs a response soon",
	incident.RespondMissed: "got no response in time",
	incident.ResolveNear:   "needs to be solved soon",
	incident.ResolveMissed: "was not solved in time",
	problem.WasOpened:      "is a new problem",
	problem.WasReopened:    "is a problem again",
	problem.WasResolved:    "is no problem any more",
}

// local writes a time as people who work to the service level read it.
func (d *Desk) local(at time.Time) string {
	return at.In(d.cfg.Level.Location()).Format("Mon 2 Jan 2006 15:04 MST")
}

// open makes a ticket of an incident whose subject is filled in, and sets the rest.
func (t *turn) open(in incident.Incident, e incident.Entry) *ticket {
	in.Number = t.num.NextIncident()
	in.Customer = t.d.customer
	priority, err := t.d.cfg.Level.Priority(in.Impact, in.Urgency)
	if err != nil {
		e.Why = strings.TrimSpace(e.Why + "\n" + err.Error() + "; the service level gives " + priority)
	}
	in.Priority = priority
	if in.Team == "" {
		in.Team = t.d.cfg.Team
	}
	tk := &ticket{Incident: in}
	e.At = t.now
	tk.Begin(t.d.cfg.Level, e)
	t.d.tickets[tk.Number] = tk
	t.d.index(tk)
	t.touch(tk)
	t.tell(tk, incident.Opened, reasonOf(e))
	return tk
}

// reasonOf is what people are told of an entry: what was seen, or why.
func reasonOf(e incident.Entry) string {
	if e.Text == "" {
		return e.Why
	}
	if e.Why == "" {
		return e.Text
	}
	return e.Text + " (" + e.Why + ")"
}

// endTicket resolves an open incident that no person resolved.
func (t *turn) endTicket(tk *ticket, ending, why string) {
	e := incident.Entry{At: t.now, Why: why, Text: endings[ending]}
	tk.Resolve(e, ending)
	t.touch(tk)
	t.tell(tk, incident.WasResolved, reasonOf(e))
	t.why(KeyOf(&tk.Incident), incident.WasResolved, tk.Number, "%s: %s", ending, why)
}

func (t *turn) endProblem(p *problem.Problem, ending, why string) {
	p.Resolve(t.now, ending, why)
	t.touchProblem(p)
	t.tellProblem(p, problem.WasResolved)
	t.why(problemKey(p), incident.WasResolved, p.Number, "%s: %s", ending, why)
}

// note writes a line in a ticket's history.
func (t *turn) note(tk *ticket, e incident.Entry) {
	e.At = t.now
	tk.Note(e)
	t.touch(tk)
}

// timer does what is due for a ticket.
func (t *turn) timer(tk *ticket) {
	if tk.State == incident.Resolved {
		text := fmt.Sprintf("Nobody reopened it for %s", days(t.d.cfg.CloseAfter))
		if tk.Breached() {
			text += ", though its rule still says " + tk.Level.String()
		}
		tk.Close(incident.Entry{At: t.now, Text: text})
		t.touch(tk)
		return
	}
	for _, event := range tk.Alarm(t.d.cfg.Level, t.d.cfg.NearPercent, t.now) {
		t.tell(tk, event, "")
	}
	t.touch(tk)
}

// days writes 168h0m0s as 7 days.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d%day == 0:
		return strconv.Itoa(int(d/day)) + " days"
	}
	return d.String()
}
