package desk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

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

func TestAnActCanHaveBeenEarlier(t *testing.T) {
	s := tell(t).do(space(rules.Critical)).later(12 * time.Minute)
	take := act("INC-000001", desk.Take, "On the phone since ten minutes")
	take.At = s.now.Add(-10 * time.Minute)
	if in := s.do(take).expect("INC-000001", incident.Open, 1); !in.RespondedAt.Equal(s.now) {
		t.Errorf("responded at %v, before what was told meanwhile", in.RespondedAt)
	}
	resolve := act("INC-000001", desk.Resolve, "")
	s.later(time.Hour)
	resolve.At = s.now.Add(-10 * time.Minute)
	if in := s.do(resolve).expect("INC-000001", incident.Resolved, 1); !in.ResolvedAt.Equal(resolve.At) {
		t.Errorf("resolved at %v, want %v", in.ResolvedAt, resolve.At)
	}
	s.do(act("INC-000001", desk.Reopen, ""))
	take = desk.Act{Number: "INC-000001", By: "Bob", Action: desk.Take, At: s.now.Add(time.Hour)}
	in := s.do(take).expect("INC-000001", incident.Open, 1)
	if last := in.Timeline[len(in.Timeline)-1]; !last.At.Equal(s.now) || in.Assignee != "Bob" {
		t.Errorf("taken at %v by %s", last.At, in.Assignee)
	}
}
