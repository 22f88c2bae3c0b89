package sla_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/sla"
)

// replace changes one thing in a file, which must be there.
func replace(data []byte, old, changed string) []byte {
	if !bytes.Contains(data, []byte(old)) {
		panic("the file has no " + old)
	}
	return bytes.Replace(data, []byte(old), []byte(changed), 1)
}

func TestDefaultLevelIsTheAgreedOne(t *testing.T) {
	level := sla.Default()
	want := []struct{ name, respond, resolve string }{
		{"P1", "15m", "4h"},
		{"P2", "30m", "4h"},
		{"P3", "2h", "the same time next service day"},
		{"P4", "1 service day", "planned"},
	}
	got := level.Priorities()
	if len(got) != len(want) {
		t.Fatalf("got %d priorities, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.name || g.Respond.String() != w.respond || g.Resolve.String() != w.resolve || g.AroundTheClock {
			t.Errorf("priority %d is %s %s/%s (around the clock %t), want %v", i, g.Name, g.Respond, g.Resolve, g.AroundTheClock, w)
		}
	}
	if level.Zone() != "Europe/Amsterdam" || level.Name() != "default" {
		t.Errorf("level %q in zone %q", level.Name(), level.Zone())
	}
}

func TestPriority(t *testing.T) {
	fiveLevels, err := os.ReadFile("testdata/five.yaml")
	if err != nil {
		t.Fatal(err)
	}
	five, err := sla.Parse("five.yaml", fiveLevels)
	if err != nil {
		t.Fatal(err)
	}
	standard := sla.Default()
	for _, tc := range []struct {
		level                 *sla.Level
		impact, urgency, want string
		err                   string
	}{
		{standard, "high", "high", "P1", ""},
		{standard, "high", "medium", "P2", ""},
		{standard, "medium", "high", "P2", ""},
		{standard, "medium", "medium", "P3", ""},
		{standard, "low", "low", "P4", ""},
		{standard, "huge", "low", "P3", `impact "huge" is not one of high, medium, low`},
		{standard, "low", "", "P3", `urgency "" is not one of high, medium, low`},
		{five, "company", "now", "production-blocking", ""},
		{five, "department", "this week", "minor", ""},
		{five, "person", "some day", "low", ""},
	} {
		got, err := tc.level.Priority(tc.impact, tc.urgency)
		if got != tc.want {
			t.Errorf("Priority(%q, %q) = %q, want %q", tc.impact, tc.urgency, got, tc.want)
		}
		if (err == nil) != (tc.err == "") || (err != nil && err.Error() != tc.err) {
			t.Errorf("Priority(%q, %q): error %v, want %q", tc.impact, tc.urgency, err, tc.err)
		}
	}
}

func TestTargetsReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []string{"15m", "4h", "1h30m", "1 service day", "5 service days", "the same time next service day", "planned", "90s"} {
		target, err := sla.ParseTarget(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		}
		again, err := sla.ParseTarget(target.String())
		if err != nil || again != target {
			t.Errorf("%q was written as %q, which reads as %v (%v)", s, target, again, err)
		}
	}
	for _, s := range []string{"", "0h", "-4h", "4", "0 service days", "soon", "1000h1", "1001h", "9999 service days"} {
		if target, err := sla.ParseTarget(s); err == nil {
			t.Errorf("%q was read as %v", s, target)
		}
	}
}

// Each case breaks one thing in the default file and expects to be told where.
func TestParseNamesFileAndLine(t *testing.T) {
	for _, tc := range []struct{ name, old, new, want string }{
		{"unknown key", "otherwise: P3", "otherwise: P3\nextra: 1", "level.yaml:50: there is no key extra"},
		{"unknown day", "  friday: 08", "  vrijdag: 08", "level.yaml:11: there is no key vrijdag"},
		{"bad hours", "tuesday: 08:00-17:00", "tuesday: 17:00-08:00", `level.yaml:8: "17:00-08:00" must end after it begins`},
		{"not hours", "tuesday: 08:00-17:00", "tuesday: office hours", `level.yaml:8: "office hours" is not a time such as 08:00-17:00`},
		{"overlap", "tuesday: 08:00-17:00", "tuesday: 08:00-12:00, 11:00-17:00", `level.yaml:8: "11:00-17:00" must end`},
		{"zone", "Europe/Amsterdam", "Europe/Amterdam", `level.yaml:3: time_zone "Europe/Amterdam" is not the name of a zone`},
		{"country", "country: nl", "country: xx", `level.yaml:17: no holidays are known of country "xx"; there are those of nl`},
		{"exception", "Goede Vrijdag", "Good Friday", `level.yaml:17: "Good Friday" is not a holiday of "nl"; there are Nieuwjaarsdag, Goede Vrijdag`},
		{"date", "country: nl", "country: nl\n  dates: [24-12-2026]", `level.yaml:18: "24-12-2026" is not a date such as 2026-12-24`},
		{"target", "respond: 2h", "respond: soon", `level.yaml:31: respond: "soon" is not a time such as 15m`},
		{"no target", "    resolve: planned\n", "", `level.yaml:33: priority "P4" has no resolve`},
		{"twice", "name: P2", "name: P1", `level.yaml:25: priority "P1" is there twice`},
		{"around", "around_the_clock: []", "around_the_clock: [P9]", `level.yaml:40: around_the_clock: "P9" is not one of the priorities`},
		{"matrix value", "low: {high: P3, medium: P4, low: P4}", "low: {high: P3, medium: P4, low: P5}", `level.yaml:46: matrix: "P5" is not one of the priorities`},
		{"matrix hole", "low: {high: P3, medium: P4, low: P4}", "low: {high: P3, low: P4}", `level.yaml:46: impact "low" has no priority for urgency "medium"`},
		{"matrix column", "low: {high: P3, medium: P4, low: P4}", "low: {high: P3, medium: P4, low: P4, none: P4}", `level.yaml:46: urgency "none" is not in the first line`},
		{"otherwise", "otherwise: P3", "otherwise: P7", `level.yaml:49: otherwise: "P7" is not one of the priorities`},
		{"syntax", "name: default", "name: [default", "level.yaml:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := sla.Parse("level.yaml", replace(sla.DefaultFile(), tc.old, tc.new))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestParseRefusesWhatIsNotALevel(t *testing.T) {
	for _, data := range []string{"", "[]", "text", "name: x", "name: x\n---\nname: y", "priorities: {P1: 4h}", "matrix: 3"} {
		if _, err := sla.Parse("level.yaml", []byte(data)); err == nil || !strings.HasPrefix(err.Error(), "level.yaml") {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sla.DefaultFile())
	f.Add([]byte("matrix: {a: {b: c}}\nservice_hours: {monday: 00:00-24:00}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		level, err := sla.Parse("level.yaml", data)
		if err != nil {
			return
		}
		// Whatever is accepted can be used.
		start := time.Date(2026, 3, 27, 16, 30, 0, 0, time.UTC)
		for _, p := range level.Priorities() {
			clock := sla.Start(start, p.Name)
			if deadline := level.Deadline(clock, sla.Resolve); !deadline.IsZero() && !deadline.After(start) {
				t.Errorf("%s: deadline %v is not after %v", p.Name, deadline, start)
			}
		}
	})
}
