package rules

import (
	"math"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// judging is one call of Judge, Tick or Vanish.
type judging struct {
	p       *Program
	m       *Machine
	now     int64
	status  checks.Status
	out     []Transition
	changed bool
	lively  bool   // prev or rising would judge an equal result differently
	outlook string // what a forecast says
}

func (j *judging) end() ([]Transition, bool) {
	if j.changed {
		j.m.saved = j.now
	}
	return j.out, j.changed
}

func (j *judging) tell(t Transition) {
	t.At = time.UnixMilli(j.now)
	j.out = append(j.out, t)
	j.changed = true
}

// bind fits a machine that was read back, or judged by another program, to this one.
func (j *judging) bind() {
	m, p := j.m, j.p
	if m.program == p {
		return
	}
	readBack := m.program == nil
	m.program, m.settled = p, false
	m.last = make([]float64, len(p.used))
	for i := range m.last {
		m.last[i] = math.NaN()
	}
	m.tracked = p.track(m.tracked)
	for i := range m.states {
		st := &m.states[i]
		r := p.byName[st.Name]
		switch {
		case r == nil:
			st.rule = p.Rule(st.Name)
			j.drop(st, "the rule no longer exists")
		case r.off != "":
			st.rule = r
			j.drop(st, r.off)
		default:
			st.rule = r
		}
		if readBack && st.Frozen == 0 {
			st.Frozen = j.now // until a result confirms what was known before
		}
	}
	if readBack {
		m.resume(j.now)
	}
}

// track lays out tracked values for this program, keeping those that are known.
func (p *Program) track(known []tracked) []tracked {
	if len(p.tracked) == 0 {
		return nil
	}
	out := make([]tracked, len(p.tracked))
	for i, c := range p.tracked {
		out[i] = tracked{name: c.name, slot: c.slot, value: math.NaN()}
		for _, k := range known {
			if k.name == c.name {
				out[i].value, out[i].rose, out[i].by = k.value, k.rose, k.by
			}
		}
	}
	return out
}

// arrive notes that a result came: the state is fresh, and what was frozen goes on.
func (j *judging) arrive(o *Observation, planned int64) {
	m := j.m
	m.received, m.planned = j.now, planned
	if !m.seen || m.gone {
		m.seen, m.gone, j.changed = true, false, true
	}
	next := o.NextWithin.Milliseconds()
	if next > 2*m.next || m.next > 2*next {
		j.changed = true
	}
	m.next, m.freshUntil = next, 0
	if next > 0 {
		m.freshUntil = j.now + next + grace(next)
	}
	switch {
	case o.Status == checks.Unknown && m.fresh != Unknown:
		j.freshness(Unknown, "the newest result is unknown: the check could not be done", false)
	case o.Status != checks.Unknown && m.fresh != OK:
		j.freshness(OK, "a result came", false)
		for i := range m.states {
			j.thaw(&m.states[i])
		}
	}
}

func (j *judging) freshness(to Level, why string, vanished bool) {
	j.tell(Transition{Rule: Freshness, From: j.m.fresh, To: to, Vanished: vanished, Why: why})
	j.m.fresh, j.m.freshSince, j.m.settled = to, j.now, false
}

// stale says that no result came in time. What the rules say stays; what was pending
// waits.
func (j *judging) stale() {
	m := j.m
	why := "no result came"
	if m.received != 0 {
		why += " for " + span(j.now-m.received)
	}
	j.freshness(Stale, why+"; one was due within "+span(m.next), false)
	for i := range m.states {
		j.freeze(&m.states[i])
	}
}

func (j *judging) freeze(st *state) {
	if st.Frozen == 0 {
		st.Frozen, j.changed = j.now, true
	}
}

// thaw lets a state go on as if the time in which it could not be judged had not been.
func (j *judging) thaw(st *state) {
	if st.Frozen == 0 {
		return
	}
	lost := j.now - st.Frozen
	st.Frozen, j.changed = 0, true
	for _, since := range []*int64{&st.Warn.Since, &st.Crit.Since, &st.Clear} {
		if *since != 0 {
			*since += lost
		}
	}
	for i := range st.Changes {
		st.Changes[i] += lost
	}
}

func (j *judging) judgeAll() {
	j.rises()
	f := j.p.frame(j.m, j.status, j.now)
	for _, r := range j.p.rules {
		j.judge(r, &f)
	}
	j.remember()
	j.sweep()
	j.m.settled = !j.lively
	for i := range j.m.states {
		j.m.settled = j.m.settled && j.m.states[i].settled()
	}
}

// rises notes figures that are above what they were.
func (j *judging) rises() {
	for i := range j.p.tracked {
		c, t := &j.p.tracked[i], &j.m.tracked[i]
		v := j.m.last[c.slot]
		switch {
		case !c.rising:
		case v > t.value:
			j.changed = j.changed || t.rose == 0 || j.now-t.rose > int64(c.within)/10
			t.rose, t.by = j.now, v-t.value
		case v < t.value:
			j.changed = true
		}
	}
}

// saveEvery is how often values that only prev reads are written down.
const saveEvery = 10 * time.Minute

// remember keeps the newest figures for the next run's prev and rising.
func (j *judging) remember() {
	for i := range j.p.tracked {
		c, t := &j.p.tracked[i], &j.m.tracked[i]
		if t.rose != 0 && j.now-t.rose >= int64(c.within) {
			t.rose, t.by = 0, 0
		}
		j.lively = j.lively || t.rose != 0
		v := j.m.last[c.slot]
		if math.IsNaN(v) || v == t.value {
			continue
		}
		t.value, j.lively = v, true
		if c.sudden || j.now-j.m.saved >= saveEvery.Milliseconds() {
			j.changed = true
		}
	}
}

func (c *condition) judge(f *frame) tri {
	if c == nil {
		return no
	}
	return c.root.eval(f)
}

func (j *judging) judge(r *Rule, f *frame) {
	c, w := r.critical.judge(f), r.warning.judge(f)
	st := j.m.of(r)
	if st == nil {
		if c != yes && w != yes {
			return
		}
		st = j.m.state(r)
	}
	j.observe(st, c, w, f)
	j.advance(st)
}

// of returns a rule's state, or nil while it is plainly OK.
func (m *Machine) of(r *Rule) *state {
	for i := range m.states {
		if m.states[i].rule == r {
			return &m.states[i]
		}
	}
	return nil
}

func (m *Machine) find(name string) *state {
	for i := range m.states {
		if m.states[i].Name == name {
			return &m.states[i]
		}
	}
	return nil
}

// state returns a rule's state, made when there is none. It moves the others.
func (m *Machine) state(r *Rule) *state {
	if st := m.of(r); st != nil {
		return st
	}
	m.states = append(m.states, state{rule: r, Name: r.Name})
	return &m.states[len(m.states)-1]
}

// sweep forgets the states of rules that are plainly OK again.
func (j *judging) sweep() {
	kept := j.m.states[:0]
	for _, st := range j.m.states {
		if !st.idle(j.now - j.m.window()) {
			kept = append(kept, st)
		}
	}
	clear(j.m.states[len(kept):])
	j.m.states = kept
	if len(kept) == 0 {
		j.m.states = nil
	}
}
