package desk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// numbers counts, as the collector does.
type numbers struct{ incidents, problems int }

func (n *numbers) NextIncident() string {
	n.incidents++
	return fmt.Sprintf("INC-%06d", n.incidents)
}

func (n *numbers) NextProblem() string {
	n.problems++
	return fmt.Sprintf("PRB-%06d", n.problems)
}

// story is a desk in use: a clock, and all that became of it.
type story struct {
	t         *testing.T
	desk      *desk.Desk
	now       time.Time
	num       numbers
	incidents map[string]incident.Incident
	problems  map[string]problem.Problem
	last      desk.Effects
	told      []string // number and event of each notice
}

// tell starts a story on a Tuesday at 09:00 in Amsterdam.
func tell(t *testing.T) *story {
	return &story{
		t: t, desk: desk.New(desk.Config{}, "acme"), now: time.Date(2026, 6, 2, 7, 0, 0, 0, time.UTC),
		incidents: map[string]incident.Incident{}, problems: map[string]problem.Problem{},
	}
}

func (s *story) record(fx desk.Effects) {
	s.last = fx
	for _, in := range fx.Incidents {
		s.incidents[in.Number] = in
	}
	for _, p := range fx.Problems {
		s.problems[p.Number] = p
	}
	for _, n := range fx.Notices {
		s.told = append(s.told, n.About().Number+" "+n.Event)
	}
}

func (s *story) do(ev desk.Event) *story {
	s.t.Helper()
	fx, err := s.desk.Handle(s.now, &s.num, ev)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(fx.Why) == 0 {
		s.t.Errorf("%T: nothing says why", ev)
	}
	s.record(fx)
	return s
}

// later lets time pass, with the ticks that fall due in it.
func (s *story) later(d time.Duration) *story {
	end := s.now.Add(d)
	for due := s.desk.Due(); !due.IsZero() && !due.After(end); due = s.desk.Due() {
		s.now = due
		s.record(s.desk.Tick(due))
	}
	s.now = end
	return s
}

func (s *story) expect(number string, state incident.State, occurrences int) incident.Incident {
	s.t.Helper()
	in, ok := s.incidents[number]
	if !ok || in.State != state || in.Occurrences != occurrences {
		s.t.Errorf("%s is %s with %d occurrences (there: %t), want %s with %d", number, in.State, in.Occurrences, ok, state, occurrences)
	}
	return in
}

func (s *story) expectTold(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.told, want) {
		s.t.Errorf("told\n  %s\nwant\n  %s", strings.Join(s.told, "\n  "), strings.Join(want, "\n  "))
	}
}

func (s *story) expectDecision(want string) {
	s.t.Helper()
	if got := s.last.Why[0]; got.Decision != want {
		s.t.Errorf("decision %q (%s), want %q", got.Decision, got.Text, want)
	}
}

func events(in incident.Incident) string {
	out := make([]string, len(in.Timeline))
	for i, e := range in.Timeline {
		out[i] = e.Event
	}
	return strings.Join(out, " ")
}

// space is the transition of the rule space of the check disk for /var on web01.
func space(to rules.Level, change ...func(*desk.CheckTransition)) desk.CheckTransition {
	ev := desk.CheckTransition{
		Subject:    rules.Subject{Customer: "acme", Site: "Utrecht", Host: "h1", Role: "server", Check: "disk", Item: "/var"},
		HostName:   "web01",
		Transition: rules.Transition{Rule: "space", To: to, Why: "free_bytes < 20 GiB: 1 GiB"},
		Title:      "/var is nearly full", Category: "hardware", Impact: "high", Urgency: "high",
		Summary: "1 GiB of 100 GiB free", Evidence: "/dev/sda1 on /var",
	}
	for _, c := range change {
		c(&ev)
	}
	return ev
}

func flapping(ev *desk.CheckTransition)     { ev.Transition.Flapping = true }
func vanished(ev *desk.CheckTransition)     { ev.Transition.Vanished = true }
func opensWarning(ev *desk.CheckTransition) { ev.Opens = "warning" }
func opensNone(ev *desk.CheckTransition)    { ev.Opens = "none" }
func makesProblem(ev *desk.CheckTransition) { ev.Makes = "problem" }
func onWorkstation(ev *desk.CheckTransition) {
	ev.Subject.Role, ev.Subject.Host = "workstation", "w1"
}
func fresh(ev *desk.CheckTransition) { ev.Transition.Rule, ev.Opens = rules.Freshness, "none" }

func act(number string, action desk.Action, text string) desk.Act {
	return desk.Act{Number: number, By: "Anna", Action: action, Text: text}
}

func TestABreachOpensAndItsEndResolves(t *testing.T) {
	s := tell(t).do(space(rules.Critical))
	in := s.expect("INC-000001", incident.Open, 1)
	if in.Priority != "P1" || in.Team != "first line" || in.Kind != "incident" || in.HostName != "web01" || in.Host != "h1" || in.Site != "Utrecht" {
		t.Errorf("opened as %+v", in)
	}
	if got := in.ResolveBy.Sub(in.OpenedAt); got != 4*time.Hour {
		t.Errorf("resolve within %v", got)
	}
	want := []string{
		"P1 INC-000001 opened: /var is nearly full (acme, Utrecht, web01)",
		"1 GiB of 100 GiB free (free_bytes < 20 GiB: 1 GiB)",
		"Respond by Tue 2 Jun 2026 09:15 CEST",
		"Resolve by Tue 2 Jun 2026 13:00 CEST",
	}
	if n := s.last.Notices[0]; !slices.Equal(n.Lines, want) || n.Key != "INC-000001:1:opened" {
		t.Errorf("notice %s\n%s", n.Key, strings.Join(n.Lines, "\n"))
	}
	s.later(10 * time.Minute).do(space(rules.OK))
	in = s.expect("INC-000001", incident.Resolved, 1)
	if in.Ending != incident.Fixed || !in.ResolvedAt.Equal(s.now) {
		t.Errorf("resolved %s at %v", in.Ending, in.ResolvedAt)
	}
	s.later(7 * 24 * time.Hour)
	in = s.expect("INC-000001", incident.Closed, 1)
	if got := in.ClosedAt.Sub(in.ResolvedAt); got != 7*24*time.Hour {
		t.Errorf("closed %v after it was resolved", got)
	}
	if _, held := s.desk.Incident("INC-000001"); held || !s.desk.Due().IsZero() {
		t.Error("the desk still holds what is closed")
	}
	s.expectTold("INC-000001 opened", "INC-000001 resolved")
}

func TestWhatOpensAndWhatDoesNot(t *testing.T) {
	for _, tc := range []struct {
		name     string
		ev       desk.CheckTransition
		decision string
		opened   int
	}{
		{"critical", space(rules.Critical), incident.Opened, 1},
		{"a warning", space(rules.Warning), desk.Ignored, 0},
		{"a warning whose rule opens at warnings", space(rules.Warning, opensWarning), incident.Opened, 1},
		{"critical, whose rule opens at warnings", space(rules.Critical, opensWarning), incident.Opened, 1},
		{"critical, whose rule opens nothing", space(rules.Critical, opensNone), desk.Ignored, 0},
		{"ok", space(rules.OK), desk.Ignored, 0},
		{"unknown", space(rules.Unknown), desk.Ignored, 0},
		{"stale", space(rules.Stale), desk.Ignored, 0},
		{"vanished", space(rules.OK, vanished), desk.Ignored, 0},
		{"vanished, which is a breach", space(rules.Critical, vanished), incident.Opened, 1},
		{"ok and flapping", space(rules.OK, flapping), desk.Ignored, 0},
		{"not fresh", space(rules.Stale, fresh), desk.Ignored, 0},
		{"critical, of a rule that makes problems", space(rules.Critical, makesProblem), incident.Opened, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tell(t).do(tc.ev)
			s.expectDecision(tc.decision)
			if len(s.incidents) != tc.opened {
				t.Errorf("%d incidents, want %d", len(s.incidents), tc.opened)
			}
		})
	}
}

func TestAnIncidentThroughItsLevels(t *testing.T) {
	for _, tc := range []struct {
		name   string
		steps  []desk.CheckTransition
		state  incident.State
		events string
	}{
		{"critical to warning ends", []desk.CheckTransition{space(rules.Critical), space(rules.Warning)}, incident.Resolved, "opened resolved"},
		{
			"warning worsens, eases and ends",
			[]desk.CheckTransition{space(rules.Warning, opensWarning), space(rules.Critical, opensWarning), space(rules.Warning, opensWarning), space(rules.OK, opensWarning)},
			incident.Resolved, "opened worsened eased resolved",
		},
		{"the same again says nothing", []desk.CheckTransition{space(rules.Critical), space(rules.Critical)}, incident.Open, "opened"},
		{"unknown is not over", []desk.CheckTransition{space(rules.Critical), space(rules.Unknown)}, incident.Open, "opened unsure"},
		{"stale is not over", []desk.CheckTransition{space(rules.Critical), space(rules.Stale)}, incident.Open, "opened unsure"},
		{"stale is not over, and its return not an occurrence", []desk.CheckTransition{space(rules.Critical), space(rules.Stale), space(rules.Critical)}, incident.Open, "opened unsure occurred"},
		{"not measured, then fine", []desk.CheckTransition{space(rules.Critical), space(rules.Stale, fresh), space(rules.OK, fresh), space(rules.OK)}, incident.Resolved, "opened unsure resolved"},
		{"flapping stays open", []desk.CheckTransition{space(rules.Critical), space(rules.Critical, flapping), space(rules.OK, flapping), space(rules.OK)}, incident.Resolved, "opened flaps resolved"},
		{"flapping ends, and it is still bad", []desk.CheckTransition{space(rules.Critical), space(rules.Critical, flapping), space(rules.Critical)}, incident.Open, "opened flaps occurred"},
		{"a workstation sleeps", []desk.CheckTransition{space(rules.Critical, onWorkstation), space(rules.Stale, onWorkstation)}, incident.Open, "opened"},
		{"a rule that opens nothing any more", []desk.CheckTransition{space(rules.Critical), space(rules.OK, opensNone)}, incident.Resolved, "opened resolved"},
		{"a rule that makes problems now", []desk.CheckTransition{space(rules.Critical), space(rules.OK, makesProblem)}, incident.Resolved, "opened resolved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tell(t)
			for _, ev := range tc.steps {
				s.do(ev).later(time.Second)
			}
			if got := events(s.expect("INC-000001", tc.state, 1)); got != tc.events {
				t.Errorf("timeline: %s\nwant      %s", got, tc.events)
			}
		})
	}
}

func TestVanishedIsNotFixed(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).do(space(rules.OK, vanished))
	if in := s.expect("INC-000001", incident.Resolved, 1); in.Ending != incident.NotObserved {
		t.Errorf("ended as %s", in.Ending)
	}
}

func TestASecondBreachWithinTheReopenTimeKeepsNumberAndClock(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).later(time.Hour).do(space(rules.OK))
	s.later(30 * time.Minute).do(space(rules.Critical))
	in := s.expect("INC-000001", incident.Open, 2)
	if want := in.OpenedAt.Add(4*time.Hour + 30*time.Minute); !in.ResolveBy.Equal(want) {
		t.Errorf("resolve by %v, want %v: the time in which it was resolved does not count", in.ResolveBy, want)
	}
	s.do(space(rules.OK)).later(time.Hour).do(space(rules.Critical)).do(space(rules.OK))
	s.expect("INC-000001", incident.Resolved, 3)
	s.later(time.Hour + time.Second).do(space(rules.Critical))
	s.expect("INC-000001", incident.Resolved, 3)
	s.expect("INC-000002", incident.Open, 1)
	if why := s.last.Why[0].Text; why != "critical: INC-000001 ended longer ago than 1h0m0s" {
		t.Error(why)
	}
}

func TestWhatComesBackTooOftenGetsANewNumber(t *testing.T) {
	s := tell(t)
	for range incident.MaxOccurrences + 1 {
		s.do(space(rules.Critical)).later(time.Second).do(space(rules.OK)).later(time.Second)
	}
	s.expect("INC-000001", incident.Resolved, incident.MaxOccurrences)
	s.expect("INC-000002", incident.Resolved, 1)
}
