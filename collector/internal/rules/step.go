package rules

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// notObserved is how long a breach stays when results come but lack the figures to
// judge it by; then it ends as no longer observed.
const notObserved = 24 * time.Hour

// observe takes up what the conditions say of a result.
func (j *judging) observe(st *state, c, w tri, f *frame) {
	if c == maybe && w != yes || c == no && w == maybe {
		j.freeze(st)
		if j.status != checks.Unknown && j.now-st.Frozen >= notObserved.Milliseconds() {
			j.drop(st, "not observed for "+span(j.now-st.Frozen)+": results lack the figures of "+st.rule.conditionText(st.Level))
		}
		return
	}
	j.thaw(st)
	runs := st.rule.runs
	crit := st.Crit.update(c, j.now, runs)
	warn := st.Warn.update(c.or(w), j.now, runs)
	since := int64(0)
	if st.cond() < st.Raw && c != maybe && (st.rule.clear == nil || st.rule.clear.root.eval(f) == yes) {
		since = j.now
		if st.Clear != 0 {
			since = st.Clear
		}
	}
	j.changed = j.changed || crit || warn || since != st.Clear
	st.Clear = since
}

// update takes one run up and says whether that changed anything.
func (h *hold) update(t tri, now int64, runs int32) bool {
	switch {
	case t == no && h.Runs > 0:
		*h = hold{}
	case t == yes && h.Runs == 0:
		*h = hold{Since: now, Runs: 1}
	case t == yes && h.Runs < runs:
		h.Runs++
	default:
		return false
	}
	return true
}

// cond is the level that the newest conditions say, however short they have held.
func (st *state) cond() Level {
	switch {
	case st.Crit.Runs > 0:
		return Critical
	case st.Warn.Runs > 0:
		return Warning
	}
	return OK
}

// reached is the level whose condition has held long enough.
func (st *state) reached(now int64) Level {
	switch {
	case st.Crit.due(st.rule) <= now:
		return Critical
	case st.Warn.due(st.rule) <= now:
		return Warning
	}
	return OK
}

// due is when a condition that goes on holding will have held long enough.
func (h *hold) due(r *Rule) int64 {
	if h.Runs == 0 || h.Runs < r.runs {
		return math.MaxInt64
	}
	return h.Since + r.hold
}

// pending is a level above the present one that the conditions say already.
func (st *state) pending() (Level, int64) {
	switch l := st.cond(); {
	case l <= st.Raw:
		return OK, 0
	case l == Critical:
		return l, st.Crit.Since
	default:
		return l, st.Warn.Since
	}
}

// settled says that an equal result will change nothing, whenever it comes.
func (st *state) settled() bool {
	return st.Frozen == 0 && st.Clear == 0 && !st.Flapping && !st.Gone && st.cond() <= st.Raw
}

// idle says that nothing needs to be remembered. Changes before flapSince no longer
// count.
func (st *state) idle(flapSince int64) bool {
	return st.Raw == OK && st.Level == OK && st.cond() == OK && st.Clear == 0 && !st.Flapping &&
		st.lastChange() <= flapSince
}

func (st *state) lastChange() int64 {
	if len(st.Changes) == 0 {
		return math.MinInt64
	}
	return st.Changes[len(st.Changes)-1]
}

// due is when time alone will change the state; MaxInt64 is never.
func (st *state) due(window int64) int64 {
	due := int64(math.MaxInt64)
	if st.Frozen != 0 {
		return due
	}
	if st.Raw < Critical {
		due = min(due, st.Crit.due(st.rule))
	}
	if st.Raw < Warning {
		due = min(due, st.Warn.due(st.rule))
	}
	if st.Clear != 0 {
		due = min(due, st.Clear+st.rule.clearHold)
	}
	if len(st.Changes) > 0 && (st.Flapping || st.Raw == OK && st.cond() == OK) {
		due = min(due, st.lastChange()+window)
	}
	return due
}

// advance changes the level when conditions or their end have lasted long enough.
func (j *judging) advance(st *state) {
	if st.Frozen != 0 || st.rule.off != "" {
		return
	}
	if up := st.reached(j.now); up > st.Raw && !st.Gone {
		st.Clear = 0
		j.set(st, up, j.whyUp(st, up))
	} else if st.Clear != 0 && j.now-st.Clear >= st.rule.clearHold {
		down := st.cond()
		why := j.whyDown(st, down)
		st.Clear, st.Gone = 0, false
		j.set(st, down, why)
	}
	if st.Flapping && j.now-st.lastChange() >= j.m.window() {
		j.calm(st)
	}
}

// set changes the level that the conditions say, and what is told unless the rule is
// flapping: then only a worse level is.
func (j *judging) set(st *state, to Level, why string) {
	window := j.m.window()
	st.Raw, j.changed = to, true
	st.Changes = slices.DeleteFunc(st.Changes, func(at int64) bool { return at <= j.now-window })
	st.Changes = append(st.Changes, j.now)
	starts := !st.Flapping && len(st.Changes) >= flapChanges
	if len(st.Changes) > flapChanges {
		st.Changes = slices.Delete(st.Changes, 0, len(st.Changes)-flapChanges)
	}
	if starts {
		st.Flapping = true
		why += fmt.Sprintf("; flapping: the level changed %d times within %s", flapChanges, span(window))
	}
	from := st.Level
	if !st.Flapping || to > from {
		st.Level, st.Since, st.Why = to, j.now, why
	} else if !starts {
		return
	}
	j.tell(Transition{Rule: st.Name, From: from, To: st.Level, Flapping: st.Flapping, Why: why})
}

// calm ends flapping: what was held up is told once.
func (j *judging) calm(st *state) {
	from := st.Level
	st.Flapping, st.Changes = false, nil
	why := "calm for " + span(j.m.window()) + ": no longer flapping"
	if from != st.Raw {
		st.Level, st.Since, st.Why = st.Raw, j.now, why
	}
	j.tell(Transition{Rule: st.Name, From: from, To: st.Level, Why: why})
}

// drop ends what a rule said because it can no longer be judged, not because it is
// fixed.
func (j *judging) drop(st *state, why string) {
	from := st.Level
	*st = state{rule: st.rule, Name: st.Name}
	j.changed = true
	if from != OK {
		j.tell(Transition{Rule: st.Name, From: from, To: OK, Vanished: true, Why: why})
	}
}

// vanished makes the item's being gone a breach of a rule that says so.
func (j *judging) vanished(st *state) {
	st.Gone, st.Frozen, st.Clear, st.Warn, st.Crit = true, 0, 0, hold{}, hold{}
	if st.Raw < st.rule.vanished {
		j.set(st, st.rule.vanished, st.rule.vanished.String()+": it is gone from a complete run")
	}
}

// conditionText is the condition of a level as written.
func (r *Rule) conditionText(l Level) string {
	if c := r.conditionOf(l); c != nil {
		return c.text
	}
	return r.Name
}

func (r *Rule) conditionOf(l Level) *condition {
	if l == Critical && r.critical != nil || r.warning == nil {
		return r.critical
	}
	return r.warning
}

func (j *judging) explain(c *condition) string {
	if c == nil {
		return ""
	}
	f := j.p.frame(j.m, j.status, j.now)
	return c.explain(&f)
}

func (j *judging) whyUp(st *state, to Level) string {
	r := st.rule
	if r.forecast != nil {
		return j.outlook
	}
	why := to.String() + ": " + j.explain(r.conditionOf(to))
	h := st.Warn
	if to == Critical {
		h = st.Crit
	}
	if r.hold > 0 {
		why += ", for " + span(j.now-h.Since)
	}
	if r.runs > 1 {
		why += fmt.Sprintf(", in %d runs in a row", r.runs)
	}
	return why
}

func (j *judging) whyDown(st *state, to Level) string {
	r := st.rule
	var why string
	switch {
	case st.Gone:
		return "it is back"
	case r.forecast != nil:
		return "no longer expected, for " + span(j.now-st.Clear) + j.outlook
	case r.clear != nil:
		why = "cleared: " + j.explain(r.clear)
	default:
		why = "no longer " + st.Raw.String() + ": " + j.explain(r.conditionOf(st.Raw))
	}
	if r.clearHold > 0 {
		why += ", for " + span(j.now-st.Clear)
	}
	if to != OK {
		why += "; " + to.String() + ": " + j.explain(r.conditionOf(to))
	}
	return why
}
