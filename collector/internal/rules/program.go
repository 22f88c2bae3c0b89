package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// Program judges the results of one kind of check state: the rules that hold for
// it, bound to its columns. It does not change, and is safe for concurrent use.
type Program struct {
	role      uint8
	columns   int
	used      []int // columns that conditions read, by slot
	tracked   []trackedColumn
	rules     []*Rule
	forecasts []*Forecast
	byName    map[string]*Rule
	order     []*Rule // all, switched off ones too, for pages
}

// program makes what Book.Program keeps.
func (c *chapter) program(s *Subject, layers []int, cols []Column) *Program {
	p := &Program{
		role: uint8(len(roleWords())), columns: len(cols), byName: make(map[string]*Rule),
	}
	if at := slices.Index(roleWords(), s.Role); at >= 0 {
		p.role = uint8(at)
	}
	b := &binder{columns: cols}
	for _, name := range c.ruleNames() {
		m := c.merge(name, layers, func(p *patches) map[string]Patch { return p.rules })
		p.add(c.rule(name, &m, b), &m)
	}
	for _, name := range c.forecastNames() {
		m := c.merge(name, layers, func(p *patches) map[string]Patch { return p.forecasts })
		p.add(c.forecastRule(name, &m, b), &m)
	}
	p.used, p.tracked = b.used, b.tracked
	return p
}

func (c *chapter) merge(name string, layers []int, of func(*patches) map[string]Patch) merged {
	var m merged
	if p, ok := of(&c.base)[name]; ok {
		m.apply(&p)
	}
	for _, l := range layers {
		if p, ok := of(&c.layers[l].patches)[name]; ok {
			m.apply(&p)
		}
	}
	return m
}

// add takes a rule up; one that the subject's layers leave unfinished does not exist.
func (p *Program) add(r *Rule, m *merged) {
	if !m.usable() {
		return
	}
	r.origin = m.origin
	p.byName[r.Name] = r
	p.order = append(p.order, r)
	switch {
	case m.disabled:
		r.off = offText(m.origin["disabled"])
	case r.forecast != nil:
		p.forecasts = append(p.forecasts, r.forecast)
	default:
		p.rules = append(p.rules, r)
	}
}

func offText(o Origin) string {
	text := "switched off by " + o.String()
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	if !o.Until.IsZero() {
		text += " (until " + o.Until.UTC().Format("2006-01-02 15:04 MST") + ")"
	}
	return text
}

func (c *chapter) rule(name string, m *merged, b *binder) *Rule {
	s := &m.rule
	r := &Rule{
		Name: name, Title: s.Title, Category: s.Category, Impact: s.Impact, Urgency: s.Urgency,
		Opens: orElse(s.Opens, "critical"), Makes: orElse(s.Makes, "incident"),
		hold: s.For.D().Milliseconds(), clearHold: s.ClearFor.D().Milliseconds(), runs: int32(max(s.Runs, 1)),
	}
	switch s.Vanished {
	case "critical":
		r.vanished = Critical
	case "warning":
		r.vanished = Warning
	}
	if !m.disabled {
		r.warning = b.condition(c.conditions[s.Warning])
		r.critical = b.condition(c.conditions[s.Critical])
		r.clear = b.condition(c.conditions[s.Clear])
	}
	return r
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Rule returns a rule or forecast by name, Freshness among them. It is never nil: of
// a rule that no longer exists only the name is known, and it opens nothing.
func (p *Program) Rule(name string) *Rule {
	if r := p.byName[name]; r != nil {
		return r
	}
	title := "{{item}}: " + name
	if name == Freshness {
		title = "{{item}} on {{host}} is not being measured"
	}
	return &Rule{Name: name, Title: title, Category: "other", Impact: "low", Urgency: "low", Opens: "none", Makes: "incident"}
}

// Forecasts are the rules over history that hold for the subject.
func (p *Program) Forecasts() []*Forecast { return p.forecasts }

// Judge takes a result up. It appends to out what changed and says whether the
// machine's durable part did. A result that was planned before the newest one judged
// is history: it changes nothing. One without Planned comes in order, whatever the
// clocks say.
func (p *Program) Judge(m *Machine, o *Observation, out []Transition) ([]Transition, bool) {
	now := o.Received.UnixMilli()
	planned := now
	if !o.Planned.IsZero() {
		if planned = min(o.Planned.UnixMilli(), now); m.seen && planned < m.planned {
			return out, false
		}
	}
	j := judging{p: p, m: m, now: now, out: out}
	j.bind()
	j.arrive(o, planned)
	same := m.take(p, o)
	if same && m.settled && !j.changed {
		return j.out, false
	}
	j.status = o.Status
	j.judgeAll()
	return j.end()
}

// Tick does what time does: conditions that have held long enough, endings that have
// lasted, results that are overdue. It also takes up a machine that was read back or
// that had another program.
func (p *Program) Tick(m *Machine, now time.Time, out []Transition) ([]Transition, bool) {
	j := judging{p: p, m: m, now: now.UnixMilli(), status: checks.Status(m.status), out: out}
	j.bind()
	if m.freshUntil != 0 && m.fresh != Stale && !m.gone && j.now >= m.freshUntil {
		j.stale()
	}
	for i := range m.states {
		j.advance(&m.states[i])
	}
	j.sweep()
	return j.end()
}

// Vanish says that a complete run no longer had the item. What was open ends as no
// longer observed, except where a rule says that vanishing is itself a breach: then
// the machine stays, until the item is back.
func (p *Program) Vanish(m *Machine, now time.Time, out []Transition) ([]Transition, bool) {
	j := judging{p: p, m: m, now: now.UnixMilli(), status: checks.Status(m.status), out: out}
	j.bind()
	if m.gone {
		return j.end()
	}
	m.gone, m.freshUntil, m.settled, j.changed = true, 0, false, true
	if m.fresh != OK {
		j.freshness(OK, "the item is gone", true)
	}
	for i := range m.states {
		if st := &m.states[i]; st.rule.vanished == OK {
			j.drop(st, "the item is gone")
		}
	}
	for _, r := range p.rules {
		if r.vanished != OK {
			j.vanished(m.state(r))
		}
	}
	j.sweep()
	return j.end()
}

// RuleView is what a page shows of one rule.
type RuleView struct {
	*Rule
	Level    Level     `json:"level"`
	Since    time.Time `json:"since,omitzero"`
	Flapping bool      `json:"flapping,omitempty"`
	// Pending is the level that the conditions say but that has not held for long
	// enough, PendingSince since when they do.
	Pending      Level     `json:"pending,omitempty"`
	PendingSince time.Time `json:"pending_since,omitzero"`
	// Warning, Critical and Clear are the conditions as written.
	Warning  string `json:"warning,omitempty"`
	Critical string `json:"critical,omitempty"`
	Clear    string `json:"clear,omitempty"`
	// Values shows what the conditions read now, "name = value" with units; empty
	// until the first result after a restart.
	Values []string `json:"values,omitempty"`
	// Why is the reason for the newest change of a level that is not OK.
	Why string `json:"why,omitempty"`
	// Off says why the rule is switched off.
	Off string `json:"off,omitempty"`
}

// Explain shows every rule of the state, for pages. It changes nothing.
func (p *Program) Explain(m *Machine) []RuleView {
	out := make([]RuleView, 0, len(p.order))
	for _, r := range p.order {
		v := RuleView{Rule: r, Off: r.off, Warning: r.warning.String(), Critical: r.critical.String(), Clear: r.clear.String()}
		if r.forecast != nil {
			v.Warning = r.forecast.String()
		}
		if m.program == p && m.last != nil && r.off == "" {
			v.Values = r.values(p.frame(m, checks.Status(m.status), m.received))
		}
		if st := m.find(r.Name); st != nil {
			v.Level, v.Since, v.Flapping, v.Why = st.Level, at(st.Since), st.Flapping, st.Why
			if l, since := st.pending(); l > st.Level {
				v.Pending, v.PendingSince = l, at(since)
			}
		}
		out = append(out, v)
	}
	return out
}

// String returns the condition as written, or "" of none.
func (c *condition) String() string {
	if c == nil {
		return ""
	}
	return c.text
}

func (r *Rule) values(f frame) []string {
	s := shower{frame: &f, seen: make(map[string]struct{})}
	conds := []*condition{r.critical, r.warning}
	if r.forecast != nil {
		conds = []*condition{r.forecast.when}
	}
	for _, c := range conds {
		if c != nil {
			s.test(c.root)
		}
	}
	return append(s.values, s.computed...)
}

func (p *Program) frame(m *Machine, status checks.Status, now int64) frame {
	return frame{values: m.last, tracked: m.tracked, now: now, status: status, role: p.role}
}

// String describes the program, for debugging and errors.
func (p *Program) String() string {
	names := make([]string, len(p.rules))
	for i, r := range p.rules {
		names[i] = r.Name
	}
	return fmt.Sprintf("%d columns, rules: %s", p.columns, strings.Join(names, ", "))
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// take copies the values that conditions read, and says whether nothing differs from
// the result before.
func (m *Machine) take(p *Program, o *Observation) bool {
	same := m.status == uint8(o.Status)
	m.status = uint8(o.Status)
	for slot, column := range p.used {
		v := math.NaN()
		if column < len(o.Values) {
			v = o.Values[column]
		}
		if math.Float64bits(v) != math.Float64bits(m.last[slot]) {
			m.last[slot], same = v, false
		}
	}
	return same
}
