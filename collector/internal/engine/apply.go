package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// applyBatch takes the runs of one batch up in order. A run that was decided
// before is not judged again, but archived again: history takes a sample once.
func (e *Engine) applyBatch(g *group, s *Session, b *agentpb.Batch) {
	h := s.host
	if h.session != s {
		return // another stream took over; what this one carried comes again there
	}
	mark := h.mark.epoch(b.Epoch)
	if mark == nil {
		h.finding(g.now, "a batch of an epoch that the hello did not name was dropped")
		s.out.close()
		return
	}
	s.confirm()
	lane := &mark.Lanes[b.Lane]
	for _, r := range b.Runs {
		fresh := r.Sequence > lane.Decided
		lane.Decided = max(lane.Decided, r.Sequence)
		if r.Task == 0 {
			continue // refused at the door
		}
		e.applyRun(g, s, r, mark.OffsetMS, fresh && b.Lane == agentpb.Lane_LIVE)
	}
	h.mark.Seen = g.now
	e.silenceEnds(g, h)
	g.marked[h] = struct{}{}
	g.acks = append(g.acks, pendingAck{session: s, key: cursorKey{b.Epoch, int(b.Lane)}, seq: lane.Decided})
}

// futureTicks is how far ahead of the collector's clock a tick may lie, beyond
// which it is not archived: one sample of 2099 would stop everybody's history.
const futureTicks = 2 * time.Minute

// applyRun judges a run, when it is news, and hands its values to the archive. Runs
// of the backlog are history: the newest result of every state came before them.
func (e *Engine) applyRun(g *group, s *Session, r *agentpb.PackedRun, offsetMS int64, judge bool) {
	t := s.tasks[r.Task-1]
	at := r.PlannedMs + offsetMS
	archive := at <= g.now.Add(futureTicks).UnixMilli()
	if !archive {
		s.host.finding(g.now, "results with a time in the future were judged but not archived; set the host's clock")
	}
	if judge {
		t.round++
	}
	for _, res := range r.Results {
		ss := s.states[res.State-1]
		values := ss.arrange(res.Values)
		if archive && len(values) > 0 {
			g.samples = append(g.samples, sample{set: ss.state.series, at: at, values: values})
		}
		if judge {
			e.applyResult(g, ss.state, res, values, time.Duration(r.NextWithinMs)*time.Millisecond)
		}
	}
	g.results += len(r.Results)
	if judge && r.Complete {
		e.vanish(g, t)
	}
}

// arrange puts a stream's values in the order of the state's columns.
func (ss *sessionState) arrange(values []float64) []float64 {
	if ss.order == nil {
		return values
	}
	out := make([]float64, len(values))
	for i, at := range ss.order {
		out[at] = values[i]
	}
	return out
}

func (e *Engine) applyResult(g *group, st *state, res *agentpb.PackedResult, values []float64, nextWithin time.Duration) {
	if st.task.states[st.item] != st {
		e.adopt(g, st) // it had vanished, and is back
	}
	st.round = st.task.round
	st.status, st.values = checks.Status(res.Status), values
	st.summary, st.evidence = res.GetSummary(), res.Evidence
	st.lastSeen, st.nextWithin = g.now, nextWithin
	if st.program == nil {
		st.level = rules.Unknown // a check that this collector does not know
		return
	}
	o := rules.Observation{
		Status: st.status, Values: values, Received: g.now, Planned: g.now, NextWithin: nextWithin,
	}
	var changed bool
	e.scratch, changed = st.program.Judge(&st.machine, &o, e.scratch[:0])
	e.settle(g, st, e.scratch, changed)
}

// settle stores what judging changed and lets the desk hear of it.
func (e *Engine) settle(g *group, st *state, transitions []rules.Transition, changed bool) {
	if !changed && len(transitions) == 0 {
		return
	}
	if level := st.machine.Level(); level != st.level {
		st.level, st.since = level, g.now
	}
	for i := range transitions {
		e.transition(g, st, transitions[i])
	}
	e.note(g, e.putState(g, st))
}

// transition records one change of a rule's level with what the desk made of it.
func (e *Engine) transition(g *group, st *state, tr rules.Transition) {
	decision, err := e.handle(g, st.task.host.Customer, eventOf(st, &tr))
	if err != nil {
		e.note(g, err)
		return
	}
	e.metrics.transitions.Inc()
	e.note(g, e.putTransition(g, st, tr, decision.Why))
}

// eventOf is what a transition is to the desk. A forecast makes its own; when its
// item vanishes, it only ends.
func eventOf(st *state, tr *rules.Transition) desk.Event {
	h := st.task.host
	rule := st.program.Rule(tr.Rule)
	subject := h.subject(st.task, st.item)
	if rule.Forecast() {
		return desk.ForecastCleared{Subject: subject, Rule: tr.Rule, Vanished: tr.Vanished, Why: tr.Why}
	}
	return desk.CheckTransition{
		Subject: subject, HostName: h.Name, Transition: *tr, Title: rule.TitleFor(subject, h.Name),
		Category: rule.Category, Impact: rule.Impact, Urgency: rule.Urgency, Opens: rule.Opens, Makes: rule.Makes,
		Summary: st.summary, Evidence: st.evidence,
	}
}

// vanish ends the states that a complete run no longer has. The count tells, in
// all but the run that loses one, that there is nothing to look for.
func (e *Engine) vanish(g *group, t *task) {
	touched := 0
	for _, st := range t.states {
		if st.round == t.round {
			touched++
		}
	}
	if touched == len(t.states) {
		return
	}
	for _, st := range sortedStates(t) {
		if st.round != t.round {
			e.vanishState(g, st)
		}
	}
}

func (e *Engine) vanishState(g *group, st *state) {
	var changed bool
	if st.program != nil {
		e.scratch, changed = st.program.Vanish(&st.machine, g.now, e.scratch[:0])
		e.settle(g, st, e.scratch, changed)
	}
	if l := st.machine.Level(); l == rules.Warning || l == rules.Critical {
		return // a rule says that vanishing is a breach: the state stays until it is back
	}
	e.forget(g, st)
}

// forget removes a state; its history stays.
func (e *Engine) forget(g *group, st *state) {
	t := st.task
	delete(t.states, st.item)
	t.host.states--
	g.writes = append(g.writes, statesTable.Delete(t.host.Customer, st.key()))
	g.customers[t.host.Customer] = struct{}{}
}

func sortedStates(t *task) []*state {
	out := make([]*state, 0, len(t.states))
	for _, st := range t.states {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b *state) int { return compareText(a.item, b.item) })
	return out
}

// stateFor returns the state of an item, made when it is new, and how a stream's
// columns map to it.
func (e *Engine) stateFor(t *task, item string, columns []rules.Column) (*state, []int, error) {
	st := t.states[item]
	if st != nil && (st.program != nil || t.spec == nil) {
		if order, ok := permutation(st.columns, columns); ok {
			return st, order, nil
		}
	}
	program, err := e.policy.Book().Program(t.host.subject(t, item), columns)
	if err != nil && !errors.Is(err, rules.ErrUndeclared) {
		return nil, nil, fmt.Errorf("rules of %s: %w", t.check, err)
	}
	if st == nil {
		if t.host.states >= MaxStates {
			return nil, nil, fmt.Errorf("the host has more than %d check states", MaxStates)
		}
		// It joins the task's states with its first live result: a definition alone,
		// or one of the backlog, is no news of the present.
		st = &state{task: t, item: item}
	}
	st.columns, st.program = columns, program
	st.values, st.series = nil, e.seriesOf(t, item, columns)
	return st, nil, nil
}

// adopt makes a state one of its host's.
func (e *Engine) adopt(g *group, st *state) {
	t := st.task
	t.states[st.item] = st
	t.host.states++
	st.level, st.since = st.machine.Level(), g.now
	e.note(g, e.putState(g, st))
}

// permutation maps each of the given columns to its place among the known ones.
// It says false when they are not the same columns; nil when the order is.
func permutation(known, given []rules.Column) ([]int, bool) {
	if len(known) != len(given) {
		return nil, false
	}
	order, inOrder := make([]int, len(given)), true
	for i := range given {
		at := slices.IndexFunc(known, func(c rules.Column) bool {
			return c.Name == given[i].Name && slices.Equal(c.Labels, given[i].Labels)
		})
		if at < 0 {
			return nil, false
		}
		order[i], inOrder = at, inOrder && at == i
	}
	if inOrder {
		return nil, true
	}
	return order, true
}
