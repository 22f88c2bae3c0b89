package desk

import (
	"cmp"
	"fmt"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// breach is what a rule says of a check state, ready for an incident or a problem.
type breach struct {
	key   Key
	opens rules.Level
	never bool // the rule opens nothing
	// outlook is nil, but of a forecast.
	outlook *outlook
	CheckTransition
}

func (ev CheckTransition) handle(t *turn) error {
	if ev.Subject.Customer != t.d.customer {
		return fmt.Errorf("a transition of customer %q at the desk of %q", ev.Subject.Customer, t.d.customer)
	}
	if ev.Transition.Rule == rules.Freshness {
		t.freshness(&ev)
		return nil
	}
	b := breach{key: keyOf(&ev.Subject, ev.Transition.Rule), opens: rules.Critical, CheckTransition: ev}
	switch ev.Opens {
	case "warning":
		b.opens = rules.Warning
	case "none":
		b.never = true
	}
	t.transition(&b)
	return nil
}

// isBad reports whether a level is one that opens something.
func isBad(level, opens rules.Level) bool {
	return level == rules.Critical || (level == rules.Warning && opens == rules.Warning)
}

// isFine reports whether it is known that a level is not one that opens something. What
// is unknown or stale is neither fine nor bad. A warning is fine for what only opens
// when critical: it is shown, and needs no ticket.
func isFine(level, opens rules.Level) bool {
	return level == rules.OK || (level == rules.Warning && opens != rules.Warning)
}

func (t *turn) transition(b *breach) {
	tr := &b.Transition
	switch {
	case tr.Vanished && isFine(tr.To, b.opens):
		t.ends(b, incident.NotObserved)
	case tr.To == rules.OK && tr.Flapping:
		t.flaps(b)
	case isFine(tr.To, b.opens):
		t.ends(b, incident.Fixed)
	case !isBad(tr.To, b.opens):
		t.unsure(b)
	case b.Makes == "problem":
		t.problemBreach(b)
	default:
		t.incidentBreach(b)
	}
}

// incidentBreach opens an incident, or goes on with the one that there is.
func (t *turn) incidentBreach(b *breach) {
	tk := t.d.find(b.key)
	switch {
	case tk != nil && tk.State == incident.Open:
		t.occurs(tk, b)
	case b.never:
		t.why(b.key, Ignored, "", "%s: the rule opens no incidents", b.Transition.To)
	case tk != nil && t.reopens(tk):
		t.reopen(tk, b)
	default:
		t.openBreach(tk, b)
	}
}

// reopens reports whether a breach belongs to a resolved incident. One that a person
// resolved while its rule still breached does not end its time until it recovers.
func (t *turn) reopens(tk *ticket) bool {
	if tk.State != incident.Resolved || tk.Occurrences >= incident.MaxOccurrences {
		return false
	}
	from := tk.QuietFrom()
	return from.IsZero() || t.now.Sub(from) <= t.d.cfg.ReopenWithin
}

func (t *turn) openBreach(before *ticket, b *breach) {
	e := b.entry()
	in := incident.Incident{
		Title: clip(b.Title), Description: machineText(b.Summary), Kind: "incident",
		Category: cmp.Or(b.Category, "other"), Impact: b.Impact, Urgency: b.Urgency,
		Site: b.Subject.Site, Host: b.key.Host, HostName: b.HostName,
		Check: b.key.Check, Instance: b.key.Instance, Item: b.key.Item, Rule: b.key.Rule,
		Opens: b.opens, Level: b.Transition.To, Flapping: b.Transition.Flapping,
	}
	tk := t.open(in, e)
	text := fmt.Sprintf("%s: nothing was open about it", b.Transition.To)
	if before != nil && before.Occurrences >= incident.MaxOccurrences {
		text = fmt.Sprintf("%s: %s has come back %d times, so this gets a number of its own", b.Transition.To, before.Number, before.Occurrences)
	} else if before != nil {
		text = fmt.Sprintf("%s: %s ended longer ago than %s", b.Transition.To, before.Number, t.d.cfg.ReopenWithin)
	}
	t.why(b.key, incident.Opened, tk.Number, "%s", text)
}

// entry is what a timeline says of a breach.
func (b *breach) entry() incident.Entry {
	return incident.Entry{
		Text: machineText(b.Summary), Why: machineText(b.Transition.Why), Evidence: machineText(b.Evidence),
	}
}

func (t *turn) reopen(tk *ticket, b *breach) {
	e := b.entry()
	e.At = t.now
	tk.Opens, tk.Level, tk.Flapping = b.opens, b.Transition.To, b.Transition.Flapping
	tk.Occurrences++
	tk.Reopen(t.d.cfg.Level, e)
	t.touch(tk)
	t.tell(tk, incident.Reopened, reasonOf(e))
	t.why(b.key, incident.Reopened, tk.Number, "%s: it ended less than %s ago", b.Transition.To, t.d.cfg.ReopenWithin)
	t.reprioritise(tk, b)
}

// occurs goes on with an open incident: nothing new, better or worse, flapping.
func (t *turn) occurs(tk *ticket, b *breach) {
	tr, event := &b.Transition, ""
	switch {
	case tr.Flapping && !tk.Flapping:
		event = incident.Flaps
	case tk.Level == tr.To:
	case tk.Level == rules.Warning:
		event = incident.Worsened
	case tr.To == rules.Warning && tk.Level == rules.Critical:
		event = incident.Eased
	default:
		event = incident.Occurred
	}
	if event == "" && tk.Flapping == tr.Flapping {
		t.why(b.key, Ignored, tk.Number, "%s: it is open, and says so already", tr.To)
	} else {
		tk.Level, tk.Flapping, tk.Held = tr.To, tr.Flapping, false
		if !b.never {
			tk.Opens = b.opens
		}
		e := b.entry()
		e.Event = cmp.Or(event, incident.Occurred)
		t.note(tk, e)
		t.why(b.key, cmp.Or(event, Updated), tk.Number, "%s: it is open", tr.To)
	}
	t.reprioritise(tk, b)
}

// reprioritise takes over impact and urgency of a rule that was changed meanwhile.
func (t *turn) reprioritise(tk *ticket, b *breach) {
	if b.never || (tk.Impact == b.Impact && tk.Urgency == b.Urgency) {
		return
	}
	priority, err := t.d.cfg.Level.Priority(b.Impact, b.Urgency)
	if err != nil {
		t.why(b.key, Ignored, tk.Number, "%s keeps its priority: %v", tk.Number, err)
		return
	}
	tk.Impact, tk.Urgency = b.Impact, b.Urgency
	t.touch(tk)
	if priority == tk.Priority {
		tk.Revision++
		return
	}
	e := incident.Entry{At: t.now, Text: fmt.Sprintf("From %s to %s", tk.Priority, priority), Why: "its rule has another impact or urgency now"}
	tk.Reprioritise(t.d.cfg.Level, priority, t.d.cfg.NearPercent, e)
	t.tell(tk, incident.Reprioritised, reasonOf(e))
	t.why(b.key, incident.Reprioritised, tk.Number, "%s: %s", e.Text, e.Why)
}

// ends resolves what is open about a rule, whatever the rule makes nowadays.
func (t *turn) ends(b *breach, ending string) {
	tr, found := &b.Transition, false
	if tk := t.d.find(b.key); tk != nil {
		found = t.ticketEnds(tk, b, ending)
	}
	if p := t.d.newestProblem[b.key]; p != nil && p.State == problem.Open {
		p.Level = tr.To
		t.endProblem(p, ending, machineText(tr.Why))
		found = true
	}
	if !found {
		t.why(b.key, Ignored, "", "%s: nothing was open about it", tr.To)
	}
}

func (t *turn) ticketEnds(tk *ticket, b *breach, ending string) bool {
	wasBad := tk.Breached()
	switch {
	case tk.State == incident.Open && tk.Held:
		t.why(b.key, Ignored, tk.Number, "%s: a person reopened it, and it stays open until a person resolves it", b.Transition.To)
	case tk.State == incident.Open:
		tk.Level = b.Transition.To
		t.endTicket(tk, ending, machineText(b.Transition.Why))
	case wasBad:
		tk.Level, tk.QuietSince = b.Transition.To, t.now
		e := b.entry()
		e.Event = incident.Recovered
		t.note(tk, e)
		t.why(b.key, incident.Recovered, tk.Number, "%s: a person had resolved it before", b.Transition.To)
	default:
		return false
	}
	return true
}

// flaps keeps open what goes to and fro.
func (t *turn) flaps(b *breach) {
	tk := t.d.find(b.key)
	if tk == nil || tk.State != incident.Open {
		t.why(b.key, Ignored, "", "%s and flapping: nothing was open about it", b.Transition.To)
		return
	}
	if !tk.Flapping {
		tk.Flapping = true
		e := b.entry()
		e.Event = incident.Flaps
		t.note(tk, e)
	}
	t.why(b.key, Updated, tk.Number, "%s, but flapping: it stays open until it is steady", b.Transition.To)
}

// unsure keeps open what can't be judged, and opens nothing.
func (t *turn) unsure(b *breach) {
	tr := &b.Transition
	tk := t.d.find(b.key)
	switch {
	case tk == nil || tk.State != incident.Open:
		t.why(b.key, Ignored, "", "%s: only a breach opens an incident", tr.To)
	case t.hidden(b.key.Host, b.Subject.Role, tr.To):
		t.why(b.key, Hidden, tk.Number, "%s: the host is silent, which says it for all its checks", tr.To)
	case tk.Level == tr.To:
		t.why(b.key, Ignored, tk.Number, "%s: it is open, and says so already", tr.To)
	default:
		tk.Level = tr.To
		e := b.entry()
		e.Event = incident.Unsure
		t.note(tk, e)
		t.why(b.key, Updated, tk.Number, "%s: it stays open until it is known to be over", tr.To)
	}
}

// hidden reports whether a host's silence explains that a result is missing. A
// workstation may sleep whenever it likes.
func (t *turn) hidden(host, role string, level rules.Level) bool {
	return level == rules.Stale && (role == workstation || t.d.Silent(host))
}

// freshness notes in what is open about a check state that it is not being measured.
// It never opens or ends anything: rules say when.
func (t *turn) freshness(ev *CheckTransition) {
	k, tr := keyOf(&ev.Subject, rules.Freshness), &ev.Transition
	open := t.d.openAbout(k)
	switch {
	case t.hidden(k.Host, ev.Subject.Role, tr.To):
		t.why(k, Hidden, "", "%s: the host is silent, which says it for all its checks", tr.To)
		return
	case tr.To == rules.OK || len(open) == 0:
		t.why(k, Ignored, "", "%s: only a breach opens an incident", tr.To)
		return
	}
	for _, tk := range open {
		t.note(tk, incident.Entry{Event: incident.Unsure, Text: "Not being measured: " + tr.To.String(), Why: machineText(tr.Why)})
		t.why(k, Updated, tk.Number, "%s: it stays open until it is known to be over", tr.To)
	}
}
