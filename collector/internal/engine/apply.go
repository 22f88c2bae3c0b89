package engine

import (
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
	var last uint64
	for _, r := range b.Runs {
		last = max(last, r.Sequence)
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
	g.acks = append(g.acks, pendingAck{session: s, key: cursorKey{b.Epoch, int(b.Lane)}, decided: lane.Decided, archived: last})
}

// How far a tick may lie from the collector's clock to be archived: one sample of
// 2099 would stop everybody's history, one of 1970 stretch it.
const (
	futureTicks = 2 * time.Minute
	pastTicks   = 35 * 24 * time.Hour
)

// tick corrects a planned tick (ms) to the collector's clock, and says whether it
// can be archived.
func tick(planned, offset int64, now time.Time) (int64, bool) {
	at := planned + offset
	if (offset > 0) != (at > planned) && offset != 0 {
		return 0, false // overflow: no clock says that
	}
	return at, at >= now.Add(-pastTicks).UnixMilli() && at <= now.Add(futureTicks).UnixMilli()
}

// applyRun judges a run, when it is news, and hands its values to the archive. Runs
// of the backlog are history: the newest result of every state came before them.
func (e *Engine) applyRun(g *group, s *Session, r *agentpb.PackedRun, offsetMS int64, judge bool) {
	t := s.tasks[r.Task-1]
	at, archive := tick(r.PlannedMs, offsetMS, g.now)
	if !archive {
		s.host.finding(g.now, "results with a time in the future, or long past, were judged but not archived; set the host's clock")
	}
	if judge {
		t.round++
	}
	for _, res := range r.Results {
		ss := s.states[res.State-1]
		if archive && len(res.Values) > 0 {
			g.samples = append(g.samples, sample{set: ss.shape.series, at: at, values: res.Values})
		}
		if judge {
			e.applyResult(g, ss, res, nextWithin(r.NextWithinMs))
		}
	}
	g.results += len(r.Results)
	if judge && r.Complete {
		e.vanish(g, t)
	}
}

// nextWithin is how long a state stays fresh. What an agent leaves unsaid is not for
// ever: a state that nothing refreshes must become stale.
func nextWithin(ms uint32) time.Duration {
	if ms == 0 {
		return unsaidNextWithin
	}
	return min(time.Duration(ms)*time.Millisecond, maxNextWithin)
}

func (e *Engine) applyResult(g *group, ss *sessionState, res *agentpb.PackedResult, nextWithin time.Duration) {
	st := ss.state
	if st == nil || st.forgotten {
		if st = e.adopt(g, ss); st == nil {
			return
		}
		ss.state = st
	}
	st.shape = ss.shape
	st.round = st.task.round
	st.status, st.values = checks.Status(res.Status), res.Values
	st.summary, st.evidence = res.GetSummary(), res.Evidence
	st.lastSeen, st.nextWithin = g.now, nextWithin
	if st.shape.program == nil {
		st.level, st.unjudged = rules.Unknown, true // a check that this collector does not know
		return
	}
	// Live results come in the order of their numbers, so no tick is given to judge
	// them by: a clock that is set back, ours or theirs, loses none.
	o := rules.Observation{Status: st.status, Values: st.values, Received: g.now, NextWithin: nextWithin}
	var changed bool
	e.scratch, changed = st.shape.program.Judge(&st.machine, &o, e.scratch[:0])
	st.task.host.expect(st.machine.Due())
	e.settle(g, st, e.scratch, changed)
}

// expect brings the host's next sweep forward.
func (h *host) expect(due time.Time) {
	if !due.IsZero() && (h.due.IsZero() || due.Before(h.due)) {
		h.due = due
	}
}

// settle stores what judging changed and lets the desk hear of it.
func (e *Engine) settle(g *group, st *state, transitions []rules.Transition, changed bool) {
	if !changed && len(transitions) == 0 {
		return
	}
	st.relevel(g.now)
	for i := range transitions {
		e.transition(g, st, transitions[i])
	}
	e.note(g, e.putState(g, st))
}

// relevel takes over what the machine says now.
func (st *state) relevel(now time.Time) {
	if level := st.machine.Level(); level != st.level {
		st.level, st.since = level, now
	}
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
	rule := st.shape.program.Rule(tr.Rule)
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
	if st.shape.program != nil {
		e.scratch, changed = st.shape.program.Vanish(&st.machine, g.now, e.scratch[:0])
		e.settle(g, st, e.scratch, changed)
	}
	if l := st.machine.Level(); st.shape.program != nil && (l == rules.Warning || l == rules.Critical) {
		return // a rule says that vanishing is a breach: the state stays until it is back
	}
	e.forget(g, st)
}

// forget removes a state; its history stays.
func (e *Engine) forget(g *group, st *state) {
	t := st.task
	delete(t.states, st.item)
	st.forgotten = true
	t.host.states--
	if len(t.states) == 0 {
		delete(t.host.tasks, t.taskKey)
	}
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

// shapeFor returns the shape of an item's results. The one that the state has is
// shared; what is new costs the host of its allowance in history.
func (e *Engine) shapeFor(t *task, item string, columns []rules.Column) (*shape, error) {
	var known []rules.Column
	if st := t.states[item]; st != nil {
		if slices.EqualFunc(st.shape.columns, columns, sameColumn) && (st.shape.program != nil || t.spec == nil) {
			return st.shape, nil
		}
		known = st.shape.columns
	}
	if err := t.host.begin(time.Now(), newColumns(known, columns)); err != nil {
		return nil, err
	}
	return &shape{columns: columns, program: e.program(t, item, columns), series: e.seriesOf(t, item, columns)}, nil
}

func sameColumn(a, b rules.Column) bool { return a.Name == b.Name && slices.Equal(a.Labels, b.Labels) }

func newColumns(known, columns []rules.Column) int {
	n := 0
	for _, c := range columns {
		if !slices.ContainsFunc(known, func(k rules.Column) bool { return sameColumn(k, c) }) {
			n++
		}
	}
	return n
}

// begin takes new series off the host's allowance of a day.
func (h *host) begin(now time.Time, series int) error {
	if now.Sub(h.seriesFrom) >= 24*time.Hour {
		h.newSeries, h.seriesFrom = 0, now
	}
	if h.newSeries+series > MaxNewSeries {
		return fmt.Errorf("the host began %d new series in a day; no more are taken until tomorrow", MaxNewSeries)
	}
	h.newSeries += series
	return nil
}

// adopt returns the host's state of an item, which it makes when there is none. A
// definition alone, or a result of the backlog, is no news of the present and makes
// none. It returns nil when the host has too many.
func (e *Engine) adopt(g *group, ss *sessionState) *state {
	t := ss.task
	if st := t.states[ss.item]; st != nil {
		return st
	}
	h := t.host
	if _, known := h.tasks[t.taskKey]; h.states >= MaxStates || (!known && len(h.tasks) >= MaxTasks) {
		h.finding(g.now, fmt.Sprintf("results were left out: a host has at most %d check states and %d tasks", MaxStates, MaxTasks))
		return nil
	}
	st := &state{task: t, item: ss.item, shape: ss.shape, since: g.now}
	h.tasks[t.taskKey] = t
	t.states[ss.item] = st
	h.states++
	e.note(g, e.putState(g, st))
	return st
}
