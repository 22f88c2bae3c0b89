package rules_test

import (
	"testing"

	"github.com/wacht-io/wacht/collector/internal/rules"
)

func TestFlappingHoldsOneLevelAndEndsOnce(t *testing.T) {
	s := newState(t, "rules: [{name: high, title: High, critical: a > 1}]")
	up, down := values{"a": 2}, values{"a": 0}
	for range 2 {
		want(t, s.ok(up), "high ok→critical")
		want(t, s.ok(down), "high critical→ok")
	}
	want(t, s.ok(up), "high ok→critical flapping")
	for range 10 {
		want(t, s.ok(down))
		want(t, s.ok(up))
	}
	want(t, s.ok(down))
	if s.machine.Level() != rules.Critical || !s.machine.Flapping() {
		t.Errorf("level %s, flapping %v", s.machine.Level(), s.machine.Flapping())
	}
	s.restart()
	for range 29 {
		want(t, s.ok(down))
	}
	want(t, s.ok(down), "high critical→ok")
	if s.machine.Flapping() {
		t.Error("still flapping")
	}
}

func TestFlappingLetsWorsePass(t *testing.T) {
	s := newState(t, "rules: [{name: high, title: High, warning: a > 1, critical: a > 10}]")
	for range 3 {
		s.ok(values{"a": 2})
		s.ok(values{"a": 0})
	}
	want(t, s.ok(values{"a": 20}), "high warning→critical flapping")
}

func TestFlappingThatBeginsWithAnEndingIsHeld(t *testing.T) {
	s := newState(t, "rules: [{name: high, title: High, warning: a > 1, critical: a > 10}]")
	s.ok(values{"a": 2})  // 1
	s.ok(values{"a": 20}) // 2
	s.ok(values{"a": 0})  // 3
	s.ok(values{"a": 20}) // 4
	want(t, s.ok(values{"a": 0}), "high critical→critical flapping")
	for range 29 {
		s.ok(values{"a": 0})
	}
	want(t, s.ok(values{"a": 0}), "high critical→ok")
}
