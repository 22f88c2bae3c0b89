package desk_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/sla"
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
		s.told = append(s.told, n.Incident.Number+" "+n.Event)
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

func TestAPersonWorksOnIt(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).later(10 * time.Minute)
	s.do(act("INC-000001", desk.Take, ""))
	in := s.expect("INC-000001", incident.Open, 1)
	if in.Assignee != "Anna" || !in.RespondedAt.Equal(s.now) {
		t.Errorf("assignee %q, responded at %v", in.Assignee, in.RespondedAt)
	}
	s.do(act("INC-000001", desk.Comment, "Old logs"))
	s.later(time.Hour).do(act("INC-000001", desk.Resolve, "Deleted old logs"))
	in = s.expect("INC-000001", incident.Resolved, 1)
	if in.Ending != incident.ByPerson || events(in) != "opened taken commented resolved" {
		t.Errorf("ended as %s: %s", in.Ending, events(in))
	}
	if why := in.Timeline[3].Why; why != "its rule still says critical; a new breach reopens it" {
		t.Errorf("why: %s", why)
	}
	// The rule recovers in the night, and breaches again: a new transition.
	s.later(12 * time.Hour).do(space(rules.OK))
	s.expectDecision(incident.Recovered)
	s.later(time.Hour).do(space(rules.Critical))
	s.expect("INC-000001", incident.Open, 2)
	s.expectTold("INC-000001 opened", "INC-000001 resolved", "INC-000001 reopened")
}

func TestActionsMayBeRepeated(t *testing.T) {
	for _, tc := range []struct {
		action desk.Action
		before []desk.Action
	}{
		{desk.Take, nil}, {desk.Comment, nil}, {desk.Resolve, nil},
		{desk.Close, []desk.Action{desk.Resolve}}, {desk.Reopen, []desk.Action{desk.Resolve}},
	} {
		t.Run(string(tc.action), func(t *testing.T) {
			s := tell(t).do(space(rules.Critical))
			for _, a := range append(tc.before, tc.action) {
				s.do(act("INC-000001", a, "text"))
			}
			if tc.action == desk.Close {
				s.expect("INC-000001", incident.Closed, 1)
				return // the desk holds it no more; Allows says that it is fine
			}
			once, told := s.incidents["INC-000001"], len(s.told)
			s.later(time.Second).do(act("INC-000001", tc.action, "text"))
			s.expectDecision(desk.Ignored)
			if again := s.incidents["INC-000001"]; again.Revision != once.Revision || len(s.told) != told {
				t.Errorf("revision %d became %d", once.Revision, again.Revision)
			}
			if len(s.last.Incidents) != 1 {
				t.Error("the answer lacks the incident")
			}
		})
	}
}

func TestWhatAPersonCannotDo(t *testing.T) {
	long := strings.Repeat("x", desk.MaxText+1)
	report := desk.Report{Title: "No mail", Customer: "acme", Impact: "high", Urgency: "low", Reporter: "Bob"}
	with := func(change func(*desk.Report)) desk.Report {
		r := report
		change(&r)
		return r
	}
	for _, tc := range []struct {
		name string
		ev   desk.Event
		is   error
		want string
	}{
		{"unknown number", act("INC-9", desk.Take, ""), desk.ErrNotFound, `"INC-9": no such open or resolved incident`},
		{"close what is open", act("INC-000001", desk.Close, ""), desk.ErrWrongState, "close INC-000001 is open: not possible now; resolve it first"},
		{"take what is resolved", act("INC-000002", desk.Take, ""), desk.ErrWrongState, "reopen it first"},
		{"a comment without text", act("INC-000001", desk.Comment, " "), desk.ErrInvalid, "invalid text: it is missing"},
		{"a long comment", act("INC-000001", desk.Comment, long), desk.ErrInvalid, "it has 16385 bytes; at most 16384 are allowed"},
		{"another action", act("INC-000001", "burn", ""), desk.ErrInvalid, `invalid action: "burn" is not one of take, comment, resolve, close, reopen`},
		{"nobody", desk.Act{Number: "INC-000001", Action: desk.Take}, desk.ErrInvalid, "invalid name: it is missing"},
		{"no title", with(func(r *desk.Report) { r.Title = " " }), desk.ErrInvalid, "invalid title: it is missing"},
		{"long title", with(func(r *desk.Report) { r.Title = strings.Repeat("é", 201) }), desk.ErrInvalid, "it has 201 characters; at most 200 are allowed"},
		{"title of two lines", with(func(r *desk.Report) { r.Title = "a\nb" }), desk.ErrInvalid, "write it on one line"},
		{"title of bytes", with(func(r *desk.Report) { r.Title = "a\xff" }), desk.ErrInvalid, "it is not UTF-8"},
		{"long description", with(func(r *desk.Report) { r.Description = long }), desk.ErrInvalid, "invalid description: it has 16385 bytes"},
		{"impact", with(func(r *desk.Report) { r.Impact = "huge" }), desk.ErrInvalid, `invalid impact "huge" is not one of high, medium, low`},
		{"kind", with(func(r *desk.Report) { r.Kind = "riot" }), desk.ErrInvalid, `invalid kind: "riot" is not one of incident, question`},
		{"category", with(func(r *desk.Report) { r.Category = "riot" }), desk.ErrInvalid, `invalid category: "riot" is not one of login`},
		{"a host without an id", desk.HostRevoked{}, desk.ErrInvalid, "invalid host: its id is missing"},
		{"a silence of no host", desk.HostSilent{}, desk.ErrInvalid, "invalid host: its id is missing"},
		{"a return of no host", desk.HostBack{}, desk.ErrInvalid, "invalid host: its id is missing"},
		{"another customer", with(func(r *desk.Report) { r.Customer = "other" }), nil, `a report of customer "other" at the desk of "acme"`},
		{"another customer's host", space(rules.Critical, func(ev *desk.CheckTransition) { ev.Subject.Customer = "other" }), nil, "at the desk of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tell(t).do(space(rules.Critical)).do(report).do(act("INC-000002", desk.Resolve, ""))
			before := s.num
			fx, err := s.desk.Handle(s.now, &s.num, tc.ev)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if len(fx.Incidents)+len(fx.Why) > 0 || s.num != before {
				t.Errorf("it had effects: %+v", fx)
			}
		})
	}
}

func TestClosedIsFinal(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).do(act("INC-000001", desk.Resolve, "")).do(act("INC-000001", desk.Close, "Told the customer"))
	in := s.expect("INC-000001", incident.Closed, 1)
	if err := desk.Allows(&in, desk.Reopen); !errors.Is(err, desk.ErrWrongState) || !strings.Contains(err.Error(), "report a new incident") {
		t.Error(err)
	}
	if err := desk.Allows(&in, desk.Close); err != nil {
		t.Error(err)
	}
	s.do(space(rules.Unknown)).do(space(rules.Critical))
	s.expect("INC-000002", incident.Open, 1)
}

func TestAnOlderIncidentIsNotReopenedBesideANewerOne(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).do(space(rules.OK)).later(2 * time.Hour).do(space(rules.Critical))
	_, err := s.desk.Handle(s.now, &s.num, act("INC-000001", desk.Reopen, "It is back"))
	if !errors.Is(err, desk.ErrWrongState) || !strings.Contains(err.Error(), "INC-000002 has followed it") {
		t.Error(err)
	}
}

func TestWhatAPersonReopensIsEndedByAPersonOrAnotherBreach(t *testing.T) {
	fine := func(desk.Key) (rules.Level, bool) { return rules.OK, true }
	s := tell(t).do(space(rules.Critical)).do(space(rules.OK)).do(act("INC-000001", desk.Reopen, "Still slow"))
	s.record(s.desk.Reconcile(s.now, fine))
	s.do(space(rules.Warning)).do(space(rules.OK)).do(desk.HostRevoked{Host: "h1"})
	s.expect("INC-000001", incident.Open, 1)
	s.do(space(rules.Critical)).do(space(rules.OK))
	if in := s.expect("INC-000001", incident.Resolved, 1); in.Ending != incident.Fixed {
		t.Errorf("ended as %s", in.Ending)
	}
}

func TestAPersonReports(t *testing.T) {
	s := tell(t).do(desk.Report{
		Title: " No mail ", Description: "Since\nthis morning", Customer: "acme", Site: "Utrecht", Service: "mailbox",
		Impact: "medium", Urgency: "high", Reporter: "Bob", Kind: "incident", Category: "mail",
	})
	in := s.expect("INC-000001", incident.Open, 1)
	if in.Title != "No mail" || in.Priority != "P2" || in.Category != "mail" || in.Reporter != "Bob" || in.Team != "first line" || in.Timeline[0].By != "Bob" {
		t.Errorf("%+v", in)
	}
	if got := s.last.Notices[0].Lines[0]; got != "P2 INC-000001 opened: No mail (acme, Utrecht, mailbox)" {
		t.Error(got)
	}
	// Nothing that rules say touches it.
	s.do(desk.HostRevoked{Host: "h1"}).do(space(rules.OK))
	s.record(s.desk.Reconcile(s.now, func(desk.Key) (rules.Level, bool) { return rules.OK, true }))
	s.expect("INC-000001", incident.Open, 1)
}

func TestDeadlinesAreToldOnce(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).later(20 * time.Minute)
	s.expectTold("INC-000001 opened", "INC-000001 respond-near", "INC-000001 respond-missed")
	s.do(act("INC-000001", desk.Take, "")).later(3 * time.Hour)
	s.do(space(rules.OK)).later(30 * time.Minute).do(space(rules.Critical)).later(24 * time.Hour)
	s.expectTold("INC-000001 opened", "INC-000001 respond-near", "INC-000001 respond-missed", "INC-000001 resolve-near",
		"INC-000001 resolved", "INC-000001 reopened", "INC-000001 resolve-missed")
	if in := s.incidents["INC-000001"]; !in.Timeline[len(in.Timeline)-1].At.Equal(in.ResolveBy) {
		t.Errorf("missed at %v, resolve by %v", in.Timeline[len(in.Timeline)-1].At, in.ResolveBy)
	}
}

func TestARuleWithAnotherImpactChangesThePriority(t *testing.T) {
	less := func(ev *desk.CheckTransition) { ev.Impact = "medium" }
	s := tell(t).do(space(rules.Critical)).later(time.Hour).do(space(rules.Critical, less))
	if in := s.expect("INC-000001", incident.Open, 1); in.Priority != "P2" || in.Impact != "medium" || in.Clock.Priority() != "P2" {
		t.Errorf("%s %s", in.Priority, in.Impact)
	}
	s.expectTold("INC-000001 opened", "INC-000001 respond-near", "INC-000001 respond-missed", "INC-000001 reprioritised")
	wrong := func(ev *desk.CheckTransition) { ev.Impact = "huge" }
	s.do(space(rules.Critical, wrong))
	s.expect("INC-000001", incident.Open, 1)
	// A wrong word hides no outage.
	s = tell(t).do(space(rules.Critical, wrong))
	if in := s.expect("INC-000001", incident.Open, 1); in.Priority != "P3" || !strings.Contains(in.Timeline[0].Why, `impact "huge" is not one of`) {
		t.Errorf("%s: %s", in.Priority, in.Timeline[0].Why)
	}
}

func TestAServerIsSilent(t *testing.T) {
	silent := desk.HostSilent{Host: "h1", HostName: "web01", Site: "Utrecht", Role: "server", Since: time.Date(2026, 6, 2, 6, 55, 0, 0, time.UTC), Announced: "reboot"}
	s := tell(t).do(space(rules.Critical)).do(silent).do(silent)
	in := s.expect("INC-000002", incident.Open, 1)
	if in.Title != "web01 is silent" || in.Priority != "P1" || in.Rule != desk.RuleSilent ||
		in.Description != "Nothing was heard of it since Tue 2 Jun 2026 08:55 CEST; it had announced its leaving (reboot) and is not back" {
		t.Errorf("%s %s: %s", in.Priority, in.Title, in.Description)
	}
	if !s.desk.Silent("h1") || s.desk.Silent("h2") {
		t.Error("which hosts are silent?")
	}
	for _, ev := range []desk.CheckTransition{space(rules.Stale), space(rules.Stale, fresh)} {
		s.do(ev)
		s.expectDecision(desk.Hidden)
	}
	if got := events(s.incidents["INC-000001"]); got != "opened" {
		t.Errorf("the silence shows in its checks: %s", got)
	}
	s.later(12 * time.Minute).do(desk.HostBack{Host: "h1"}).do(desk.HostBack{Host: "h1"})
	in = s.expect("INC-000002", incident.Resolved, 1)
	if why := in.Timeline[len(in.Timeline)-1].Why; why != "it is heard of again after 12m0s" {
		t.Error(why)
	}
	s.do(silent)
	s.expect("INC-000002", incident.Open, 2)
}

func TestAWorkstationMaySleep(t *testing.T) {
	s := tell(t).do(desk.HostSilent{Host: "w1", HostName: "desk7", Role: "workstation"})
	s.expectDecision(desk.Ignored)
	s.do(desk.HostBack{Host: "w1"})
	if len(s.incidents) > 0 {
		t.Errorf("%d incidents", len(s.incidents))
	}
}

func TestARevokedHostIsNotObserved(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).do(space(rules.Critical, makesProblem, func(ev *desk.CheckTransition) { ev.Subject.Item = "/srv" }))
	s.do(desk.HostSilent{Host: "h1", HostName: "web01", Role: "server"})
	s.do(space(rules.Critical, onWorkstation))
	s.do(desk.HostRevoked{Host: "h1", HostName: "web01", By: "Anna"})
	for _, number := range []string{"INC-000001", "INC-000002"} {
		if in := s.expect(number, incident.Resolved, 1); in.Ending != incident.NotObserved {
			t.Errorf("%s ended as %s", number, in.Ending)
		}
	}
	s.expect("INC-000003", incident.Open, 1)
	if p := s.problems["PRB-000001"]; p.State != problem.Resolved || p.Ending != incident.NotObserved || s.desk.Silent("h1") {
		t.Errorf("%+v", p)
	}
}

func TestProblems(t *testing.T) {
	at := func(days int) time.Time { return time.Date(2026, 6, 2+days, 7, 0, 0, 0, time.UTC) }
	full := func(days int) desk.ForecastRaised {
		ev := space(rules.OK)
		return desk.ForecastRaised{
			Subject: ev.Subject, HostName: "web01", Rule: "full", Title: "/var will be full", Category: "hardware",
			Impact: "medium", Urgency: "low", ReachedAt: at(days), Why: fmt.Sprintf("full in %d days", days),
		}
	}
	cleared := desk.ForecastCleared{Subject: full(0).Subject, Rule: "full", Why: "it shrinks"}
	s := tell(t).do(full(20))
	p := s.problems["PRB-000001"]
	if p.State != problem.Open || p.Priority != "P4" || !p.ReachedAt.Equal(at(20)) || !p.Forecast || len(s.incidents) > 0 {
		t.Errorf("%+v", p)
	}
	if s.do(full(21)); len(s.last.Problems) > 0 {
		t.Error("a day of twenty is noise")
	}
	if s.do(full(10)); !s.problems["PRB-000001"].ReachedAt.Equal(at(10)) || s.problems["PRB-000001"].Revision != 2 {
		t.Errorf("%+v", s.problems["PRB-000001"])
	}
	if s.do(cleared).do(cleared); s.problems["PRB-000001"].State != problem.Resolved {
		t.Errorf("%+v", s.problems["PRB-000001"])
	}
	if s.later(6 * 24 * time.Hour).do(full(30)); s.problems["PRB-000001"].State != problem.Open || s.problems["PRB-000001"].Occurrences != 2 {
		t.Errorf("%+v", s.problems["PRB-000001"])
	}
	s.do(cleared).later(8 * 24 * time.Hour).do(full(30))
	if s.problems["PRB-000001"].State != problem.Resolved || s.problems["PRB-000002"].State != problem.Open {
		t.Errorf("%+v", s.problems)
	}
	// A rule over one result can make one as well.
	s = tell(t).do(space(rules.Critical, makesProblem)).do(space(rules.Critical, makesProblem)).do(space(rules.Stale, makesProblem))
	if s.problems["PRB-000001"].State != problem.Open || s.problems["PRB-000001"].Revision != 1 {
		t.Errorf("%+v", s.problems)
	}
	if s.do(space(rules.OK, makesProblem)); s.problems["PRB-000001"].Ending != incident.Fixed {
		t.Errorf("%+v", s.problems)
	}
}

func TestReconcileEndsWhatIsFine(t *testing.T) {
	item := func(name string) func(*desk.CheckTransition) {
		return func(ev *desk.CheckTransition) { ev.Subject.Item = name }
	}
	s := tell(t)
	levels := map[string]rules.Level{"/ok": rules.OK, "/warning": rules.Warning, "/critical": rules.Critical, "/stale": rules.Stale, "/unknown": rules.Unknown}
	for _, name := range []string{"/ok", "/warning", "/critical", "/stale", "/unknown", "/gone"} {
		s.do(space(rules.Critical, item(name)))
	}
	s.do(desk.HostSilent{Host: "h2", HostName: "web02", Role: "server"})
	s.record(s.desk.Reconcile(s.now, func(k desk.Key) (rules.Level, bool) {
		level, ok := levels[k.Item]
		return level, ok
	}))
	want := map[string]string{"/ok": incident.Fixed, "/warning": incident.Fixed, "/gone": incident.NotObserved}
	for _, in := range s.incidents {
		if in.Ending != want[in.Item] || (in.State == incident.Open) != (want[in.Item] == "") {
			t.Errorf("%s is %s, ended as %q", cmp.Or(in.Item, in.Title), in.State, in.Ending)
		}
	}
}

func TestTheTimelineIsBounded(t *testing.T) {
	s := tell(t).do(space(rules.Critical))
	for i := range 2 * incident.MaxEntries {
		s.do(act("INC-000001", desk.Comment, fmt.Sprint("note ", i)))
	}
	in := s.incidents["INC-000001"]
	if len(in.Timeline) > incident.MaxEntries || in.Timeline[0].Event != incident.Opened {
		t.Errorf("%d entries, the first is %s", len(in.Timeline), in.Timeline[0].Event)
	}
	kept := len(in.Timeline) - 2
	if in.Dropped+kept != 2*incident.MaxEntries || in.Timeline[1].Text != fmt.Sprintf("%d older entries were left out", in.Dropped) {
		t.Errorf("kept %d, dropped %d: %s", kept, in.Dropped, in.Timeline[1].Text)
	}
	if last := in.Timeline[len(in.Timeline)-1].Text; last != "note 999" {
		t.Errorf("the newest is %q", last)
	}
	long := strings.Repeat("x", desk.MaxText-10)
	for i := range 100 {
		s.do(act("INC-000001", desk.Comment, long+fmt.Sprint(i)))
	}
	size := 0
	for _, e := range s.incidents["INC-000001"].Timeline {
		size += len(e.Text)
	}
	if size > incident.MaxTimelineBytes {
		t.Errorf("the timeline has %d bytes", size)
	}
}

func TestACopyIsNotChangedLater(t *testing.T) {
	s := tell(t).do(space(rules.Critical))
	first := s.incidents["INC-000001"]
	mine := first.Timeline
	mine = append(mine, incident.Entry{Event: "mine"})
	s.later(20 * time.Minute).do(act("INC-000001", desk.Comment, "theirs"))
	if first.Revision != 1 || len(first.Timeline) != 1 || len(first.Told) != 0 || mine[1].Event != "mine" {
		t.Errorf("%+v", first)
	}
	if s.incidents["INC-000001"].Timeline[1].Event == "mine" {
		t.Error("a reader wrote into the desk")
	}
}

func TestAnotherServiceLevel(t *testing.T) {
	level, err := sla.Parse("round.yaml", []byte(strings.Replace(string(sla.DefaultFile()), "around_the_clock: []", "around_the_clock: [P1]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := tell(t)
	s.desk = desk.New(desk.Config{Level: level, Team: "night watch", ReopenWithin: time.Minute}, "acme")
	s.now = time.Date(2026, 6, 6, 21, 0, 0, 0, time.UTC)
	s.do(space(rules.Critical))
	if in := s.expect("INC-000001", incident.Open, 1); in.ResolveBy.Sub(s.now) != 4*time.Hour || in.Team != "night watch" {
		t.Errorf("resolve by %v, team %s", in.ResolveBy, in.Team)
	}
	s.do(space(rules.OK)).later(2 * time.Minute).do(space(rules.Critical))
	s.expect("INC-000002", incident.Open, 1)
}
