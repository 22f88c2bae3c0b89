package engine

import (
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// sweep looks at everything that happens by time alone: conditions that have held
// long enough, results that are overdue, hosts that are silent, deadlines.
func (e *Engine) sweep(g *group) {
	e.silences(g)
	for _, h := range e.hosts {
		if h.due.IsZero() || h.due.After(g.now) {
			continue
		}
		h.due = time.Time{}
		for _, t := range h.tasks {
			for _, st := range t.states {
				e.tick(g, st)
				h.expect(st.machine.Due())
			}
		}
	}
	if g.now.Sub(e.reconciled) >= reconcileEvery {
		e.reconciled = g.now
		e.reconcile(g)
		e.sweepForeign(g)
	}
	for customer, d := range e.desks {
		if due := d.Due(); due.IsZero() || due.After(g.now) {
			continue
		}
		e.note(g, e.effects(g, customer, d.Tick(g.now)))
	}
}

func (e *Engine) tick(g *group, st *state) {
	due := st.machine.Due()
	if due.IsZero() || due.After(g.now) || st.shape.program == nil {
		return
	}
	var changed bool
	e.scratch, changed = st.shape.program.Tick(&st.machine, g.now, e.scratch[:0])
	e.settle(g, st, e.scratch, changed)
}

// reconcileEvery is how often open tickets are held against the states that they
// are about: whatever was missed, an incident whose cause is gone ends.
const reconcileEvery = 5 * time.Minute

func (e *Engine) reconcile(g *group) {
	for customer, d := range e.desks {
		e.note(g, e.effects(g, customer, d.Reconcile(g.now, e.levelOf)))
	}
}

// levelOf says what a rule says now; false means that nothing observes it.
func (e *Engine) levelOf(k desk.Key) (rules.Level, bool) {
	h := e.hosts[k.Host]
	if h == nil {
		return 0, false
	}
	if k.Rule == desk.RuleSilent {
		if h.silent {
			return rules.Critical, true
		}
		return rules.OK, true
	}
	t := h.tasks[taskKey{k.Check, k.Instance}]
	if t == nil || t.states[k.Item] == nil {
		return 0, false
	}
	st := t.states[k.Item]
	if st.shape.program == nil {
		return rules.Unknown, true
	}
	for _, r := range st.shape.program.Explain(&st.machine) {
		if r.Name == k.Rule && !r.Forecast() {
			return r.Level, true
		}
	}
	return 0, false
}
