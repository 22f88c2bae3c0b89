package desk

import (
	"cmp"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

func (ev ForecastRaised) handle(t *turn) error {
	if ev.Subject.Customer != t.d.customer {
		return fmt.Errorf("a forecast of customer %q at the desk of %q", ev.Subject.Customer, t.d.customer)
	}
	b := breach{key: keyOf(&ev.Subject, ev.Rule), opens: rules.Critical, CheckTransition: CheckTransition{
		Subject: ev.Subject, HostName: ev.HostName, Title: ev.Title,
		Category: ev.Category, Impact: ev.Impact, Urgency: ev.Urgency,
		Transition: rules.Transition{Rule: ev.Rule, To: rules.Critical, At: t.now, Why: ev.Why},
	}}
	reached := ev.ReachedAt.UTC().Round(0)
	p := t.d.newestProblem[b.key]
	if p != nil && p.State == problem.Open && !p.Moved(t.now, reached) {
		t.why(b.key, Ignored, p.Number, "forecast: it is open, and its date is much the same")
		return nil
	}
	p = t.problemBreach(&b)
	p.Forecast, p.ReachedAt = true, reached
	return nil
}

func (ev ForecastCleared) handle(t *turn) error {
	if ev.Subject.Customer != t.d.customer {
		return fmt.Errorf("a forecast of customer %q at the desk of %q", ev.Subject.Customer, t.d.customer)
	}
	k := keyOf(&ev.Subject, ev.Rule)
	p := t.d.newestProblem[k]
	if p == nil || p.State != problem.Open {
		t.why(k, Ignored, "", "forecast: nothing was open about it")
		return nil
	}
	ending := incident.Fixed
	if ev.Vanished {
		ending = incident.NotObserved
	}
	p.Level, p.ReachedAt = rules.OK, time.Time{}
	t.endProblem(p, ending, machineText(ev.Why))
	return nil
}

// problemBreach opens a problem, or goes on with the one that there is. Problems have
// no clock: they are planned.
func (t *turn) problemBreach(b *breach) *problem.Problem {
	p, why := t.d.newestProblem[b.key], machineText(b.Transition.Why)
	decision := Updated
	switch {
	case b.never && (p == nil || p.State != problem.Open):
		t.why(b.key, Ignored, "", "%s: the rule opens no problems", b.Transition.To)
		return p
	case p == nil, p.State == problem.Resolved && t.now.Sub(p.ResolvedAt) > t.d.cfg.ProblemReopenWithin:
		p, decision = t.newProblem(b, why), incident.Opened
	case p.State == problem.Resolved:
		p.Reopen(t.now, why)
		decision = incident.Reopened
	case b.Transition.To == p.Level && !p.Forecast:
		t.why(b.key, Ignored, p.Number, "%s: it is open, and says so already", b.Transition.To)
		return p
	default:
		p.Update(t.now, why)
	}
	p.Level = b.Transition.To
	t.touchProblem(p)
	t.why(b.key, decision, p.Number, "the rule makes a problem, to be planned: %s", why)
	return p
}

func (t *turn) newProblem(b *breach, why string) *problem.Problem {
	priority, err := t.d.cfg.Level.Priority(b.Impact, b.Urgency)
	if err != nil {
		why += "\n" + err.Error() + "; the service level gives " + priority
	}
	p := &problem.Problem{
		Number: t.num.NextProblem(), Title: clip(b.Title),
		Category: cmp.Or(b.Category, "other"), Impact: b.Impact, Urgency: b.Urgency, Priority: priority,
		Customer: t.d.customer, Site: b.Subject.Site, Host: b.key.Host, HostName: b.HostName,
		Check: b.key.Check, Instance: b.key.Instance, Item: b.key.Item, Rule: b.key.Rule,
		Opens: b.opens,
	}
	p.Begin(t.now, why)
	t.d.problems[p.Number] = p
	t.d.newestProblem[b.key] = p
	return p
}
