package desk

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// workstation is the role of a machine that may sleep.
const workstation = "workstation"

// hasID keeps what is about no host from meaning every ticket without one.
func hasID(host string) error {
	if host == "" {
		return fmt.Errorf("%w host: its id is missing", ErrInvalid)
	}
	return nil
}

func (ev HostSilent) handle(t *turn) error {
	if err := hasID(ev.Host); err != nil {
		return err
	}
	k := Key{Host: ev.Host, Rule: RuleSilent}
	if ev.Role == workstation {
		t.why(k, Ignored, "", "silent: a workstation may sleep")
		return nil
	}
	text := "Nothing was heard of it since " + t.d.local(ev.Since)
	if ev.Announced != "" {
		text += fmt.Sprintf("; it had announced its leaving (%s) and is not back", ev.Announced)
	}
	worth := t.d.cfg.Silence
	t.incidentBreach(&breach{key: k, opens: rules.Critical, CheckTransition: CheckTransition{
		Subject: rules.Subject{Customer: t.d.customer, Site: ev.Site, Host: ev.Host}, HostName: ev.HostName,
		Transition: rules.Transition{Rule: RuleSilent, To: rules.Critical, At: t.now, Why: "a server is heard of all the time"},
		Title:      ev.HostName + " is silent", Summary: text,
		Category: worth.Category, Impact: worth.Impact, Urgency: worth.Urgency,
	}})
	return nil
}

func (ev HostBack) handle(t *turn) error {
	if err := hasID(ev.Host); err != nil {
		return err
	}
	k := Key{Host: ev.Host, Rule: RuleSilent}
	why := "it is heard of again"
	if tk := t.d.find(k); tk != nil && tk.State == incident.Open {
		why += " after " + t.now.Sub(tk.OpenedAt).Round(time.Second).String()
	}
	t.ends(&breach{key: k, opens: rules.Critical, CheckTransition: CheckTransition{
		Transition: rules.Transition{Rule: RuleSilent, To: rules.OK, At: t.now, Why: why},
	}}, incident.Fixed)
	return nil
}

// handle ends what rules opened about the host. What people reported or reopened about
// it stays: they know whether it is over.
func (ev HostRevoked) handle(t *turn) error {
	if err := hasID(ev.Host); err != nil {
		return err
	}
	why := "its host is not watched any more"
	if ev.By != "" {
		why += ": revoked by " + clip(ev.By)
	}
	for _, tk := range t.d.openTickets(func(tk *ticket) bool { return tk.Host == ev.Host && tk.ruled() }) {
		tk.Level = rules.Stale
		t.endTicket(tk, incident.NotObserved, why)
	}
	for _, p := range t.d.openProblems(func(p *problem.Problem) bool { return p.Host == ev.Host }) {
		p.Level = rules.Stale
		t.endProblem(p, incident.NotObserved, why)
	}
	if len(t.fx.Why) == 0 {
		t.why(Key{Host: ev.Host}, Ignored, "", "revoked: nothing was open about it")
	}
	return nil
}
