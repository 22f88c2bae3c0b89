package rules_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

const spaceRule = `
rules:
  - name: space
    title: "{{item}} on {{host}} is nearly full"
    warning: free_bytes < min(0.10 * size_bytes, 100 * GiB)
    critical: free_bytes < min(0.05 * size_bytes, 20 * GiB)
    clear: free_bytes > min(0.06 * size_bytes, 24 * GiB)
`

const gib = 1 << 30

func disk(freeGiB float64) values {
	return values{"free_bytes": freeGiB * gib, "size_bytes": 100 * gib}
}

func want(t *testing.T, got []string, wanted ...string) {
	t.Helper()
	if !slices.Equal(got, wanted) {
		t.Errorf("got %q, want %q", got, wanted)
	}
}

func TestFirstSightMayAlert(t *testing.T) {
	s := newState(t, spaceRule)
	want(t, s.ok(disk(1)), "space ok→critical")
	if !s.changed || s.machine.Level() != rules.Critical {
		t.Errorf("changed %v, level %s", s.changed, s.machine.Level())
	}
}

func TestWhyShowsConditionAndValues(t *testing.T) {
	s := newState(t, spaceRule)
	s.ok(disk(1.25))
	const wanted = "critical: free_bytes < min(0.05 * size_bytes, 20 * GiB) with " +
		"free_bytes = 1.3 GiB, size_bytes = 100 GiB, min(0.05 * size_bytes, 20 * GiB) = 5.0 GiB"
	if got := s.all[0].Why; got != wanted {
		t.Errorf("why:\n%s\nwant:\n%s", got, wanted)
	}
}

func TestClearIsApartFromTheCondition(t *testing.T) {
	s := newState(t, spaceRule)
	want(t, s.ok(disk(4)), "space ok→critical")
	want(t, s.ok(disk(5.5))) // neither critical nor clear
	want(t, s.ok(disk(7)), "space critical→warning")
	want(t, s.ok(disk(4)), "space warning→critical")
	want(t, s.ok(disk(50)), "space critical→ok")
	if s.changed != true || s.machine.Level() != rules.OK {
		t.Errorf("changed %v, level %s", s.changed, s.machine.Level())
	}
}

func TestSteadyResultsChangeNothing(t *testing.T) {
	s := newState(t, spaceRule)
	s.ok(disk(50))
	for _, free := range []float64{50, 49, 49, 48} {
		if got := s.ok(disk(free)); got != nil || s.changed {
			t.Errorf("%v GiB: %q, changed %v", free, got, s.changed)
		}
	}
}

func TestForMustHoldContinuously(t *testing.T) {
	s := newState(t, "rules: [{name: busy, title: Busy, warning: a > 1, for: 5m}]")
	high, low := values{"a": 2}, values{"a": 0}
	want(t, s.ok(high))
	if !s.changed {
		t.Error("the start of a pending condition must be durable")
	}
	if due := s.machine.Due(); !due.Equal(s.now.Add(3 * minute)) { // stale comes first
		t.Errorf("due %s", due)
	}
	s.ok(high)
	want(t, s.ok(low))
	for range 5 {
		want(t, s.ok(high))
	}
	if due := s.machine.Due(); !due.Equal(s.now.Add(minute)) {
		t.Errorf("due %s after %s", due, s.now)
	}
	want(t, s.tick(minute), "busy ok→warning")
	if why := s.all[0].Why; !strings.HasSuffix(why, "a = 2 things, for 5 min") {
		t.Errorf("why %q", why)
	}
}

func TestRunsInARow(t *testing.T) {
	s := newState(t, `rules: [{name: failed, title: Failed, critical: status == "critical", runs: 2}]`)
	fail := func() []string { s.now = s.now.Add(minute); return s.judge(checks.Critical, nil) }
	want(t, fail())
	want(t, s.ok(nil))
	want(t, fail())
	want(t, fail(), "failed ok→critical")
	want(t, fail())
	if s.changed {
		t.Error("a third failure changes nothing")
	}
	want(t, s.ok(nil), "failed critical→ok")
}

func TestClearForMustLast(t *testing.T) {
	s := newState(t, "rules: [{name: high, title: High, critical: a > 1, clear_for: 3m}]")
	s.ok(values{"a": 2})
	want(t, s.ok(values{"a": 0}))
	want(t, s.ok(values{"a": 2}))
	want(t, s.ok(values{"a": 0}))
	want(t, s.ok(values{"a": 0}))
	want(t, s.tick(minute))
	want(t, s.tick(minute), "high critical→ok")
}

func TestUnknownKeepsTheLevel(t *testing.T) {
	s := newState(t, spaceRule+`  - {name: failed, title: Failed, critical: status == "critical"}`)
	want(t, s.ok(disk(1)), "space ok→critical")
	s.now = s.now.Add(minute)
	want(t, s.judge(checks.Critical, disk(1)), "failed ok→critical")
	s.now = s.now.Add(minute)
	want(t, s.judge(checks.Unknown, nil), "freshness ok→unknown")
	if s.machine.Level() != rules.Critical || s.machine.Fresh() != rules.Unknown {
		t.Errorf("level %s, fresh %s", s.machine.Level(), s.machine.Fresh())
	}
	want(t, s.ok(disk(1)), "freshness unknown→ok", "failed critical→ok")
}

func TestMissingFigureEndsAsNotObservedAfterADay(t *testing.T) {
	s := newState(t, spaceRule)
	s.ok(disk(1))
	for range 24 {
		s.now = s.now.Add(time.Hour - minute)
		want(t, withoutFreshness(s.ok(nil)))
	}
	s.now = s.now.Add(time.Hour)
	want(t, withoutFreshness(s.ok(nil)), "space critical→ok vanished")
}

func withoutFreshness(in []string) []string {
	return slices.DeleteFunc(in, func(s string) bool { return strings.HasPrefix(s, rules.Freshness) })
}

func TestStaleWhenNothingComes(t *testing.T) {
	s := newState(t, "rules: [{name: busy, title: Busy, warning: a > 1, for: 10m}]")
	s.ok(values{"a": 2})
	due := s.machine.Due()
	if want := s.now.Add(3 * minute); !due.Equal(want) { // 2 minutes and half as much again
		t.Fatalf("due %s, want %s", due, want)
	}
	want(t, s.tick(3*minute), "freshness ok→stale")
	if !s.machine.Due().IsZero() {
		t.Error("a stale state waits for a result alone")
	}
	want(t, s.tick(time.Hour)) // what was pending does not ripen in silence
	want(t, s.ok(values{"a": 2}), "freshness stale→ok")
	// 3 minutes had passed before the silence: 7 remain.
	for range 6 {
		want(t, s.ok(values{"a": 2}))
	}
	want(t, s.ok(values{"a": 2}), "busy ok→warning")
}

func TestOldResultIsHistory(t *testing.T) {
	s := newState(t, spaceRule)
	s.ok(disk(50))
	o := rules.Observation{Values: disk(1).row(), Received: s.now.Add(minute), Planned: s.now.Add(-minute), NextWithin: minute}
	if out, changed := s.program.Judge(&s.machine, &o, nil); len(out) > 0 || changed {
		t.Errorf("an older result changed the state: %q", texts(out))
	}
}

func TestPrevSurvivesARestart(t *testing.T) {
	s := newState(t, `
rules:
  - name: readonly
    title: "{{item}} became read-only"
    critical: flag == 1 && prev("flag") == 0
    clear: flag == 0
`)
	want(t, s.ok(values{"flag": 1})) // read-only from the start: nobody knows that it should not be
	want(t, s.ok(values{"flag": 0}))
	if !s.changed {
		t.Error("the change of a boolean that prev reads must be durable")
	}
	s.restart()
	want(t, s.ok(values{"flag": 1}), "readonly ok→critical")
	want(t, s.ok(values{"flag": 1}))
	want(t, s.ok(values{"flag": 0}), "readonly critical→ok")
}

// restart writes the machine down and reads it back.
func (s *state) restart() {
	s.t.Helper()
	data, err := json.Marshal(s.machine)
	if err != nil {
		s.t.Fatal(err)
	}
	s.machine = rules.Machine{}
	if err := json.Unmarshal(data, &s.machine); err != nil {
		s.t.Fatal(err)
	}
}

func TestRisingWithinItsTime(t *testing.T) {
	s := newState(t, `rules: [{name: errors, title: Errors, critical: 'rising("errors_total", "1h")'}]`)
	want(t, s.ok(values{"errors_total": 5}))
	want(t, s.ok(values{"errors_total": 5}))
	want(t, s.ok(values{"errors_total": 7}), "errors ok→critical")
	if why := s.all[0].Why; !strings.Contains(why, "risen by = 2 errors 0 ms ago") {
		t.Errorf("why %q", why)
	}
	for range 59 {
		want(t, s.ok(values{"errors_total": 7}))
	}
	want(t, s.ok(values{"errors_total": 7}), "errors critical→ok")
	want(t, s.ok(values{"errors_total": 0})) // a counter that starts anew has not risen
	want(t, s.ok(values{"errors_total": 1}), "errors ok→critical")
}

func TestVanishing(t *testing.T) {
	body := spaceRule + `  - {name: gone, title: "{{item}} is gone", vanished: critical}`
	s := newState(t, body)
	want(t, s.ok(disk(1)), "space ok→critical")
	out, changed := s.program.Vanish(&s.machine, s.now, nil)
	want(t, texts(out), "space critical→ok vanished", "gone ok→critical")
	if !changed || !s.machine.Gone() || s.machine.Level() != rules.Critical || !s.machine.Due().IsZero() {
		t.Errorf("changed %v, gone %v, level %s, due %s", changed, s.machine.Gone(), s.machine.Level(), s.machine.Due())
	}
	if out, changed = s.program.Vanish(&s.machine, s.now, nil); len(out) > 0 || changed {
		t.Errorf("vanished twice: %q", texts(out))
	}
	s.restart()
	want(t, s.tick(time.Hour))
	want(t, s.ok(disk(50)), "gone critical→ok")
}

func TestDisabledRuleEndsWhatItOpened(t *testing.T) {
	s := newState(t, spaceRule)
	want(t, s.ok(disk(1)), "space ok→critical")
	off := rules.Layer{
		Matches: func(s *rules.Subject) bool { return s.Item == "/var" },
		Rules: map[string]map[string]rules.Patch{"probe": {"space": {Disabled: true, Set: map[string]rules.Origin{
			"disabled": {Layer: "item", File: "acme.yaml", Line: 7, Reason: "it is a cache"},
		}}}},
	}
	s.program = newState(t, spaceRule, off).program
	want(t, s.tick(0), "space critical→ok vanished")
	if why := s.all[1].Why; why != "switched off by acme.yaml:7: it is a cache" {
		t.Errorf("why %q", why)
	}
	want(t, s.ok(disk(1)))
	if v := s.program.Explain(&s.machine); len(v) != 1 || v[0].Off == "" {
		t.Errorf("explain %+v", v)
	}
}

func TestPendingWaitsForAResultAfterARestart(t *testing.T) {
	s := newState(t, "rules: [{name: busy, title: Busy, warning: a > 1, for: 5m}]")
	s.ok(values{"a": 2})
	s.restart()
	if s.machine.Due().IsZero() {
		t.Error("a machine that was read back must be due")
	}
	want(t, s.tick(10*minute))
	if due, atLeast := s.machine.Due(), s.now.Add(4*minute); due.Before(atLeast) {
		t.Errorf("stale %s after a restart", due.Sub(s.now))
	}
	want(t, s.ok(values{"a": 2}), "busy ok→warning")
}

func TestExplainShowsEveryRule(t *testing.T) {
	s := newState(t, spaceRule+"  - {name: busy, title: Busy, warning: a > 1, for: 5m}")
	s.ok(values{"a": 2, "free_bytes": gib, "size_bytes": 100 * gib})
	views := s.program.Explain(&s.machine)
	if len(views) != 2 || views[0].Level != rules.Critical || views[1].Pending != rules.Warning {
		t.Fatalf("%+v", views)
	}
	want(t, views[1].Values, "a = 2 things")
	if views[0].Critical != "free_bytes < min(0.05 * size_bytes, 20 * GiB)" {
		t.Errorf("critical %q", views[0].Critical)
	}
	if got := s.program.Rule("space").TitleFor(subject, "web1"); got != "/var on web1 is nearly full" {
		t.Errorf("title %q", got)
	}
	if r := s.program.Rule("space"); !r.OpensAt(rules.Critical) || r.OpensAt(rules.Warning) || r.Makes != "incident" {
		t.Errorf("%+v", r)
	}
	if r := s.program.Rule(rules.Freshness); r.OpensAt(rules.Critical) {
		t.Error("freshness opens tickets")
	}
}

func TestRoleChoosesTheBranch(t *testing.T) {
	body := `rules: [{name: slow, title: Slow, critical: 'a > (role == "workstation" ? 60 : 5)'}]`
	s := newState(t, body)
	want(t, s.ok(values{"a": 10}), "slow ok→critical")
	other := subject
	other.Role = "workstation"
	p, err := book(t, body).Program(other, columns())
	if err != nil {
		t.Fatal(err)
	}
	w := &state{t: t, program: p, now: start}
	want(t, w.ok(values{"a": 10}))
}
