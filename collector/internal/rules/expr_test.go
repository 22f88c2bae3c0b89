package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

func TestConditions(t *testing.T) {
	all := values{"a": 3, "b": -2, "flag": 1, "free_bytes": 2 * gib, "read": 0.5, "write": 0.25}
	cases := []struct {
		text string
		want bool
	}{
		{`a > 2 and b < 0`, true},
		{`a > 2 && !(b < 0)`, false},
		{`not (a == 3) or b != -2`, false},
		{`1 < a < 4`, true},
		{`abs(b) == 2`, true},
		{`max(a, b, 10) == 10 && min(a, b) == -2`, true},
		{`a + b * 2 == -1 && a - b == 5 && a / 2 == 1.5 && a % 2 == 1 && a ** 2 == 9`, true},
		{`-a == -3 && +a == 3`, true},
		{`free_bytes == 2 * GiB && free_bytes == 2048 * MiB && free_bytes < TiB && free_bytes > KiB`, true},
		{`io_seconds["read,sda"] == 0.5`, true},
		{`io_seconds["read,sdb"] == 0.5`, false},
		{`max(io_seconds) == 0.5 && min(io_seconds) == 0.25 && sum(io_seconds) == 0.75`, true},
		{`status == "ok" && status != "critical" && status in ["ok", "warning"]`, true},
		{`"ok" == status`, true},
		{`role == "server"`, true},
		{`role != "server"`, false},
		{`a > 2 ? b < 0 : b > 0`, true},
		{`(a > 5 ? 1 : 2) == 2`, true},
		{`true`, true},
		{`size_bytes > 1`, false},
		{`size_bytes != 1`, false},
		{`!(size_bytes > 1)`, false},
		{`size_bytes > 1 || a == 3`, true},
		{`min(a, size_bytes) > 1`, false},
		{`prev("a") == 3`, false},
		{`a / 0 > 1`, true},
	}
	for _, c := range cases {
		t.Run(c.text, func(t *testing.T) {
			s := newState(t, fmt.Sprintf("rules: [{name: r, title: R, critical: '%s'}]", c.text))
			s.ok(all)
			if got := s.machine.Level() == rules.Critical; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestStatusUnknownSaysNothingUnlessNamed(t *testing.T) {
	for text, want := range map[string]rules.Level{
		`status == "unknown"`: rules.Critical,
		`status != "ok"`:      rules.Unknown,
	} {
		s := newState(t, fmt.Sprintf("rules: [{name: r, title: R, critical: '%s'}]", text))
		s.judge(checks.Unknown, nil)
		if got := s.machine.Level(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestWrongRulesAreNamedWithTheirPlace(t *testing.T) {
	cases := []struct{ rule, want string }{
		{`{name: r, title: R, critical: fre_bytes < 1}`,
			`probe.yaml:rules/r/critical: rule r of probe, critical: "fre_bytes < 1": unknown metric fre_bytes; ` +
				`check probe has: a, b, free_bytes, size_bytes, flag, errors_total, io_seconds`},
		{`{name: r, title: R, critical: a <}`, `"a <" can't be read: unexpected token EOF`},
		{`{name: r, title: R, critical: a}`, `a is no condition: compare it with something, as in a > 0`},
		{`{name: r, title: R, critical: a + 1}`, `+ can't be used for a condition`},
		{`{name: r, title: R, critical: io_seconds > 1}`, `io_seconds has one value for each mode,device: say which`},
		{`{name: r, title: R, critical: 'io_seconds["read"] > 1'}`, `io_seconds has the labels mode,device: "read" gives 1 of 2 values`},
		{`{name: r, title: R, critical: 'a["x"] > 1'}`, `a has no labels: leave out ["x"]`},
		{`{name: r, title: R, critical: 'status == "down"'}`, `status is never "down"; it is one of ok, warning, critical, unknown`},
		{`{name: r, title: R, critical: 'a == "x"'}`, `only status and role are compared with text`},
		{`{name: r, title: R, critical: 'status < "ok"'}`, `status is compared by == "…", != "…" or in ["…", "…"]`},
		{`{name: r, title: R, critical: 'rising("a", "soon")'}`, `"soon" is not a time such as 30m, 24h or 7d`},
		{`{name: r, title: R, critical: 'rising("a")'}`, `rising takes a metric's name and a time`},
		{`{name: r, title: R, critical: 'rising("a", "1h") > 1'}`, `is true or false, not a number`},
		{`{name: r, title: R, critical: 'prev(a) > 1'}`, `a metric's name stands in quotes here`},
		{`{name: r, title: R, critical: 'prev("io_seconds") > 1'}`, `io_seconds has one value for each mode,device`},
		{`{name: r, title: R, critical: 'len(a) > 1'}`, `len can't be used so; the functions are`},
		{`{name: r, title: R, critical: 'max(a) > 1'}`, `a has no labels, so there is nothing to choose from`},
		{`{name: r, title: R, critical: 'let x = 1; x > 0'}`, `is no condition`},
		{`{name: r, title: R, critical: 'a matches "x"'}`, `only status and role are compared with text`},
		{`{name: r, title: "{{hst}} is down", critical: a > 1}`, `title has {{hst}}; only {{item}} and {{host}} are filled in`},
		{`{name: r, critical: a > 1}`, `rule r of probe lacks a part; give title and warning, critical or vanished`},
		{`{name: r, title: R}`, `rule r of probe lacks a part`},
		{`{name: r, title: R, critical: a > 1, opens: always}`, `opens is "always"; use one of critical, warning, none`},
		{`{name: r, title: R, critical: a > 1, makes: noise}`, `makes is "noise"; use one of incident, problem`},
		{`{name: r, title: R, critical: a > 1, impact: HIGH}`, `impact is "HIGH"; use lower case words`},
		{`{name: r, title: R, critical: a > 1, runs: -1}`, `runs is -1; use 1 to 1000`},
		{`{name: r, title: R, critical: a > 1, for: -1m}`, `for is below zero`},
		{`{name: freshness, title: R, critical: a > 1}`, `no rule can be called freshness`},
		{`{name: r, title: R, critical: a > 1}, {name: r, title: R, critical: a > 2}`, `two rules or forecasts are called r`},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			_, err := rules.NewBook([]rules.Declaration{declare(t, "rules: ["+c.rule+"]")}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzCondition(f *testing.F) {
	for _, text := range []string{
		`free_bytes < min(0.10 * size_bytes, 100 * GiB)`, `flag == 1 && prev("flag") == 0`, `rising("errors_total", "24h")`,
		`status in ["ok"]`, `io_seconds["read,sda"] > 1 ? a > 1 : b > 2`, `max(io_seconds) > 1`, `let x = 1; x`, `a |`, `{}`, `[1]`, `-a > 1`,
	} {
		f.Add(text, 1.0)
	}
	f.Fuzz(func(t *testing.T, text string, v float64) {
		d := declare(t, "")
		d.Spec.Rules = []checks.RuleSpec{{Name: "r", Title: "R", Critical: text}}
		b, err := rules.NewBook([]rules.Declaration{d}, nil)
		if err != nil {
			return
		}
		p, err := b.Program(subject, columns())
		if err != nil {
			t.Fatal(err)
		}
		s := &state{t: t, program: p, now: start, next: minute}
		s.ok(values{"a": v, "b": 1, "free_bytes": v, "read": v})
		s.ok(values{"a": -v, "size_bytes": v})
		s.program.Explain(&s.machine)
		s.restart()
		s.tick(minute)
	})
}
