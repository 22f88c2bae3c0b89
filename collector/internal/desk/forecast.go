package desk

import (
	"cmp"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// outlook is what a forecast says beside its reason.
type outlook struct {
	reached    time.Time
	confidence float64
}

func (ev ForecastRaised) handle(t *turn) error {
	if ev.Subject.Customer != t.d.customer {
		return fmt.Errorf("a forecast of customer %q at the desk of %q", ev.Subject.Customer, t.d.customer)
	}
	reached := ev.ReachedAt.UTC().Round(0)
	outlook := &outlook{reached, ev.Confidence}
	b := breach{key: keyOf(&ev.Subject, ev.Rule), opens: rules.Critical, outlook: outlook, CheckTransition: CheckTransition{
		Subject: ev.Subject, HostName: ev.HostName, Title: ev.Title,
		Category: ev.Category, Impact: ev.Impact, Urgency: ev.Urgency,
		Transition: rules.Transition{Rule: ev.Rule, To: rules.Critical, At: t.now, Why: ev.Why},
	}}
	p := t.d.newestProblem[b.key]
	if p != nil && p.State == problem.Open && !p.Moved(t.now, reached) {
		t.why(b.key, Ignored, p.Number, "forecast: it is open, and its date is much the same")
		return nil
	}
	t.problemBreach(&b)
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
	p.Level, p.ReachedAt, p.Confidence = rules.OK, time.Time{}, 0
	t.endProblem(p, ending, machineText(ev.Why))
	return nil
}

// problemBreach opens a problem, or goes on with the one that there is. Problems have
// no clock: they are planned.
func (t *turn) problemBreach(b *breach) {
	p, why := t.d.newestProblem[b.key], machineText(b.Transition.Why)
	decision := Updated
	switch {
	case b.never && (p == nil || p.State != problem.Open):
		t.why(b.key, Ignored, "", "%s: the rule opens no problems", b.Transition.To)
		return
	case p == nil, p.State == problem.Resolved && t.now.Sub(p.ResolvedAt) > t.d.cfg.ProblemReopenWithin:
		p, decision = t.newProblem(b, why), incident.Opened
	case p.State == problem.Resolved:
		p.Reopen(t.now, why)
		decision = incident.Reopened
	case b.Transition.To == p.Level && !p.Forecast:
		t.why(b.key, Ignored, p.Number, "%s: it is open, and says so already", b.Transition.To)
		return
	default:
		p.Update(t.now, why)
	}
	p.Level = b.Transition.To
	if b.outlook != nil {
		p.Forecast, p.ReachedAt, p.Confidence = true, b.outlook.reached, b.outlook.confidence
	}
	t.touchProblem(p)
	switch decision {
	case incident.Opened:
		t.tellProblem(p, problem.WasOpened)
	case incident.Reopened:
		t.tellProblem(p, problem.WasReopened)
	}
	t.why(b.key, decision, p.Number, "the rule makes a problem, to be planned: %s", why)
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
