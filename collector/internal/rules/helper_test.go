package rules_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

const minute = time.Minute

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// declare makes a declaration of a check "probe" with the metrics a, b (numbers),
// free_bytes, size_bytes, flag (boolean), errors_total and io_seconds by mode and
// device, and the given rules and forecasts.
func declare(t testing.TB, body string) rules.Declaration {
	t.Helper()
	spec, err := checks.ParseSpec([]byte(`name: probe
summary: A check for tests
item: thing
interval: 60s
timeout: 20s
systems: [linux]
metrics:
  - {name: a, type: gauge, unit: things, summary: a}
  - {name: b, type: gauge, unit: things, summary: b}
  - {name: free_bytes, type: gauge, unit: bytes, summary: free}
  - {name: size_bytes, type: gauge, unit: bytes, summary: size}
  - {name: flag, type: gauge, unit: boolean, summary: flag}
  - {name: errors_total, type: counter, unit: errors, summary: errors}
  - {name: io_seconds, type: gauge, unit: seconds, summary: io, labels: [mode, device]}
` + body))
	if err != nil {
		t.Fatal(err)
	}
	return rules.Declaration{Spec: spec, At: func(section, name, field string) rules.Origin {
		return rules.Origin{Layer: "default", File: "probe.yaml:" + section + "/" + name + "/" + field}
	}}
}

func book(t testing.TB, body string, layers ...rules.Layer) *rules.Book {
	t.Helper()
	b, err := rules.NewBook([]rules.Declaration{declare(t, body)}, layers)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var subject = rules.Subject{Customer: "demo", Site: "hq", Host: "web1.example.org", Role: "server", Check: "probe", Item: "/var"}

func columns() []rules.Column {
	io := func(mode, device string) rules.Column {
		return rules.Column{Name: "io_seconds", Labels: []checks.Label{{Name: "mode", Value: mode}, {Name: "device", Value: device}}}
	}
	return []rules.Column{
		{Name: "a"}, {Name: "b"}, {Name: "free_bytes"}, {Name: "size_bytes"}, {Name: "flag"}, {Name: "errors_total"},
		io("read", "sda"), io("write", "sda"),
	}
}

// state is one check state under test, fed with values by name.
type state struct {
	t       testing.TB
	program *rules.Program
	machine rules.Machine
	now     time.Time
	next    time.Duration
	all     []rules.Transition
	changed bool
}

func newState(t testing.TB, body string, layers ...rules.Layer) *state {
	t.Helper()
	p, err := book(t, body, layers...).Program(subject, columns())
	if err != nil {
		t.Fatal(err)
	}
	return &state{t: t, program: p, now: start, next: 2 * minute}
}

type values map[string]float64

func (v values) row() []float64 {
	row := make([]float64, len(columns()))
	for i, c := range columns() {
		name := c.Name
		if len(c.Labels) > 0 {
			name = c.Labels[0].Value
		}
		x, ok := v[name]
		if !ok {
			x = math.NaN()
		}
		row[i] = x
	}
	return row
}

// judge feeds one result and returns what it changed, as text.
func (s *state) judge(status checks.Status, v values) []string {
	o := rules.Observation{Status: status, Values: v.row(), Received: s.now, Planned: s.now, NextWithin: s.next}
	var out []rules.Transition
	out, s.changed = s.program.Judge(&s.machine, &o, nil)
	return s.note(out)
}

// ok feeds a result with status ok a minute after the one before.
func (s *state) ok(v values) []string {
	s.now = s.now.Add(minute)
	return s.judge(checks.OK, v)
}

func (s *state) tick(d time.Duration) []string {
	s.now = s.now.Add(d)
	var out []rules.Transition
	out, s.changed = s.program.Tick(&s.machine, s.now, nil)
	return s.note(out)
}

func (s *state) note(out []rules.Transition) []string {
	s.all = append(s.all, out...)
	return texts(out)
}

func texts(out []rules.Transition) []string {
	var names []string
	for _, tr := range out {
		text := fmt.Sprintf("%s %s→%s", tr.Rule, tr.From, tr.To)
		if tr.Flapping {
			text += " flapping"
		}
		if tr.Vanished {
			text += " vanished"
		}
		names = append(names, text)
	}
	return names
}

func sizeOf(v any) uintptr { return reflect.TypeOf(v).Size() }
