package rules_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// everyRule uses all that a rule can say.
const everyRule = `
rules:
  - {name: plain, title: T, warning: a > 3, critical: a > 6}
  - {name: sticky, title: T, critical: a > 6, clear: a < 2, clear_for: 3m}
  - {name: lasting, title: T, warning: b > 3, critical: b > 6, for: 4m}
  - {name: failed, title: T, critical: status == "critical", runs: 2}
  - {name: errors, title: T, critical: 'rising("errors_total", "10m")'}
  - {name: switched, title: T, critical: flag == 1 && prev("flag") == 0, clear: flag == 0}
  - {name: gone, title: T, vanished: critical}
`

// step is one thing that may happen to a state.
type step struct {
	after  time.Duration
	kind   string // result, tick, vanish, restart
	status checks.Status
	values values
	late   time.Duration // how much earlier than received it was planned
}

func steps() *rapid.Generator[[]step] {
	one := rapid.Custom(func(t *rapid.T) step {
		s := step{
			after: time.Duration(rapid.IntRange(0, 150).Draw(t, "seconds")) * time.Second,
			kind:  rapid.SampledFrom([]string{"result", "result", "result", "result", "tick", "tick", "vanish", "restart"}).Draw(t, "kind"),
		}
		if s.kind != "result" {
			return s
		}
		s.status = rapid.SampledFrom([]checks.Status{checks.OK, checks.OK, checks.Critical, checks.Unknown}).Draw(t, "status")
		s.late = time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, 300}).Draw(t, "late")) * time.Second
		s.values = make(values)
		for _, name := range []string{"a", "b", "errors_total", "flag"} {
			top := 8
			if name == "flag" {
				top = 1
			}
			if rapid.IntRange(0, 9).Draw(t, name+" is there") > 0 {
				s.values[name] = float64(rapid.IntRange(0, top).Draw(t, name))
			}
		}
		return s
	})
	return rapid.SliceOfN(one, 1, 60)
}

func (s *state) do(st step) {
	s.now = s.now.Add(st.after)
	var out []rules.Transition
	switch st.kind {
	case "result":
		o := rules.Observation{
			Status: st.status, Values: st.values.row(), Received: s.now, Planned: s.now.Add(-st.late), NextWithin: 2 * minute,
		}
		out, s.changed = s.program.Judge(&s.machine, &o, nil)
	case "tick":
		out, s.changed = s.program.Tick(&s.machine, s.now, nil)
	case "vanish":
		out, s.changed = s.program.Vanish(&s.machine, s.now, nil)
	case "restart":
		s.restart()
	}
	s.note(out)
}

// TestTransitionsChain: whatever happens, each rule's transitions follow from one
// another, are in order of time, are durable and explained, and are the same when it
// happens again.
func TestTransitionsChain(t *testing.T) {
	b := book(t, everyRule)
	program, err := b.Program(subject, columns())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		all := steps().Draw(rt, "steps")
		s := &state{t: t, program: program, now: start}
		levels := make(map[string]rules.Level)
		for _, st := range all {
			before := len(s.all)
			s.do(st)
			for _, tr := range s.all[before:] {
				if tr.From != levels[tr.Rule] {
					rt.Fatalf("%s goes from %s, but was %s", tr.Rule, tr.From, levels[tr.Rule])
				}
				if !tr.At.Equal(s.now) || tr.Why == "" || !s.changed {
					rt.Fatalf("%+v at %s, changed %v", tr, s.now, s.changed)
				}
				levels[tr.Rule] = tr.To
			}
		}
		for _, v := range program.Explain(&s.machine) {
			if v.Level != levels[v.Name] {
				rt.Fatalf("%s is %s, but %s was told", v.Name, v.Level, levels[v.Name])
			}
		}
		again := &state{t: t, program: program, now: start}
		for _, st := range all {
			again.do(st)
		}
		if !slices.Equal(texts(s.all), texts(again.all)) {
			rt.Fatalf("first %q, then %q", texts(s.all), texts(again.all))
		}
	})
}

// TestDueIsAhead: after a tick nothing is due at once, and what is due is done by then.
func TestDueIsAhead(t *testing.T) {
	b := book(t, everyRule)
	program, err := b.Program(subject, columns())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := &state{t: t, program: program, now: start}
		for _, st := range steps().Draw(rt, "steps") {
			s.do(st)
			s.tick(0)
			due := s.machine.Due()
			if !due.IsZero() && !due.After(s.now) {
				rt.Fatalf("due %s after a tick at %s", due, s.now)
			}
			if due.IsZero() || rapid.Bool().Draw(rt, "wait not") {
				continue
			}
			if early := s.tick(due.Sub(s.now) - time.Millisecond); len(early) > 0 {
				rt.Fatalf("%q happened before %s", early, due)
			}
			s.tick(time.Millisecond)
		}
	})
}

// TestTicksDoNotMatterToResults: a rule without a time of its own says the same
// however often the clock is looked at.
func TestTicksDoNotMatterToResults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const body = "rules: [{name: r, title: T, warning: a > 3, critical: a > 6, clear: a < 2}]"
		with, without := newState(t, body), newState(t, body)
		for i, a := range rapid.SliceOf(rapid.IntRange(0, 8)).Draw(rt, "a") {
			v := values{"a": float64(a)}
			got, wanted := with.ok(v), without.ok(v)
			if !slices.Equal(got, wanted) {
				rt.Fatalf("result %d: %q with ticks, %q without", i, got, wanted)
			}
			with.tick(30 * time.Second)
			with.now = with.now.Add(-30 * time.Second)
		}
	})
}

// TestNeverOKWhileTheConditionHolds, also while flapping; and an incident whose cause
// is gone always ends.
func TestNeverOKWhileTheConditionHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(t, "rules: [{name: r, title: T, warning: a > 3, critical: a > 6}]")
		for _, a := range rapid.SliceOf(rapid.IntRange(0, 8)).Draw(rt, "a") {
			s.ok(values{"a": float64(a)})
			least := rules.OK
			if a > 3 {
				least = rules.Warning
			}
			if a > 6 {
				least = rules.Critical
			}
			if l := s.machine.Level(); l < least {
				rt.Fatalf("a = %d, level %s", a, l)
			}
		}
		for range 32 {
			s.ok(values{"a": 0})
		}
		if l := s.machine.Level(); l != rules.OK {
			rt.Fatalf("%s though the cause is gone", l)
		}
	})
}

// TestFlappingIsOneOpeningAndOneEnding: from where flapping begins, however it goes
// on, there is one ending.
func TestFlappingIsOneOpeningAndOneEnding(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(t, "rules: [{name: r, title: T, critical: a > 1}]")
		for range 2 {
			s.ok(values{"a": 2})
			s.ok(values{"a": 0})
		}
		s.all = nil
		s.ok(values{"a": 2})
		for _, a := range rapid.SliceOfN(rapid.IntRange(0, 3), 0, 25).Draw(rt, "a") { // too few to be calm between
			s.ok(values{"a": float64(a)})
		}
		for range 32 {
			s.ok(values{"a": 0})
		}
		endings := 0
		for _, tr := range s.all {
			if tr.From != rules.OK && tr.To == rules.OK {
				endings++
			}
		}
		if endings != 1 {
			rt.Fatalf("%q", texts(s.all))
		}
	})
}

// TestMachineIsSmall: a hundred thousand states without a breach are held in memory.
func TestMachineIsSmall(t *testing.T) {
	p := newState(t, diskRules).program
	const n = 1000
	machines := make([]rules.Machine, n)
	row := values{"free_bytes": 50 * gib, "size_bytes": 100 * gib, "a": 0.5, "flag": 0}.row()
	o := rules.Observation{Values: row, Received: start, NextWithin: minute}
	perMachine := testing.AllocsPerRun(1, func() {
		for i := range machines {
			machines[i] = rules.Machine{}
			p.Judge(&machines[i], &o, nil)
		}
	}) / n
	if perMachine > 2 {
		t.Errorf("%g allocations a machine", perMachine)
	}
	if size := sizeOf(machines[0]) + 4*8 + 48; size > 400 {
		t.Errorf("%d bytes a machine", size)
	}
}

func TestMachineAtRest(t *testing.T) {
	s := newState(t, "rules: [{name: high, title: High, critical: a > 1}]")
	s.ok(values{"a": 2})
	data, err := json.Marshal(s.machine)
	if err != nil {
		t.Fatal(err)
	}
	const wanted = `{"planned":1772438460000,"next":120000,"saved":1772438460000,"rules":[{"rule":"high","level":"critical",` +
		`"raw":"critical","since":1772438460000,"warn":{"since":1772438460000,"runs":1},` +
		`"crit":{"since":1772438460000,"runs":1},"changes":[1772438460000],"why":"critical: a \u003e 1 with a = 2 things"}]}`
	if string(data) != wanted {
		t.Errorf("got %s", data)
	}
}
