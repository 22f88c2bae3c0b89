package engine

// sweep looks at everything that happens by time alone: conditions that have held
// long enough, results that are overdue, hosts that are silent, deadlines.
func (e *Engine) sweep(g *group) {
	e.silences(g)
	for _, h := range e.hosts {
		for _, t := range h.tasks {
			for _, st := range t.states {
				e.tick(g, st)
			}
		}
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
	if due.IsZero() || due.After(g.now) || st.program == nil {
		return
	}
	var changed bool
	e.scratch, changed = st.program.Tick(&st.machine, g.now, e.scratch[:0])
	e.settle(g, st, e.scratch, changed)
}
