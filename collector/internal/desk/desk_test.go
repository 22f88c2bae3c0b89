package desk_test

import (
	"cmp"
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

// What people are told of a problem says what decays, until when, and how sure that is.
func TestProblemsAreTold(t *testing.T) {
	ev := space(rules.OK)
	s := tell(t).do(desk.ForecastRaised{
		Subject: ev.Subject, HostName: "web01", Rule: "full", Title: "/var will be full", Category: "hardware",
		Impact: "medium", Urgency: "low", ReachedAt: time.Date(2026, 6, 12, 23, 0, 0, 0, time.UTC), Confidence: 0.973,
		Why: "free_bytes falls by 2 GiB a day (R² 0.97 over 14d): from 20 GiB it reaches 0 B in 10d, on 2026-06-12",
	})
	n := s.last.Notices[0]
	want := []string{
		"P4 PRB-000001 is a new problem: /var will be full (acme, Utrecht, web01)",
		"free_bytes falls by 2 GiB a day (R² 0.97 over 14d): from 20 GiB it reaches 0 B in 10d, on 2026-06-12",
		"The limit is reached on Sat 13 Jun 2026, if it goes on like this; the trend fits to 97 % (R²)",
	}
	if !slices.Equal(n.Lines, want) || n.Key != "PRB-000001:1:problem-opened" || n.Problem.Confidence != 0.973 || n.Incident.Number != "" {
		t.Errorf("notice %s\n%s\n%+v", n.Key, strings.Join(n.Lines, "\n"), n.Problem)
	}
	if about := n.About(); about != (desk.About{Customer: "acme", Number: "PRB-000001", Priority: "P4", Revision: 1}) {
		t.Errorf("it is about %+v", about)
	}
	s.do(desk.ForecastCleared{Subject: ev.Subject, Rule: "full", Why: "it does not approach 0 B"})
	want = []string{"P4 PRB-000001 is no problem any more: /var will be full (acme, Utrecht, web01)", "Fixed: it does not approach 0 B"}
	if n := s.last.Notices[0]; !slices.Equal(n.Lines, want) || n.Key != "PRB-000001:2:problem-resolved" {
		t.Errorf("notice %s\n%s", n.Key, strings.Join(n.Lines, "\n"))
	}
	if n.Problem.State != problem.Open {
		t.Error("the first notice has changed since")
	}
	s = tell(t).do(space(rules.Critical, makesProblem)).do(space(rules.OK, makesProblem, vanished))
	if lines := s.last.Notices[0].Lines; !strings.HasPrefix(lines[1], "No longer observed, which is not to say that it was fixed") {
		t.Errorf("%q", lines)
	}
	s.expectTold("PRB-000001 problem-opened", "PRB-000001 problem-resolved")
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
	s.expectTold("PRB-000001 problem-opened", "PRB-000001 problem-resolved", "PRB-000001 problem-reopened",
		"PRB-000001 problem-resolved", "PRB-000002 problem-opened")
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
