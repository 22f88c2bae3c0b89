package sla_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/sla"
)

func amsterdam(t interface{ Fatal(args ...any) }) *time.Location {
	loc, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// moment reads a time of the wall clock in Amsterdam.
func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("Mon 2006-01-02 15:04", s, amsterdam(t))
	if err != nil {
		t.Fatal(err)
	}
	if at.Format("Mon 2006-01-02 15:04") != s {
		t.Fatalf("%s is a %s", s, at.Weekday())
	}
	return at
}

// contracted is the default level, with P1 around the clock.
func contracted(t interface{ Fatal(args ...any) }) *sla.Level {
	level, err := sla.Parse("contracted.yaml", replace(sla.DefaultFile(), "around_the_clock: []", "around_the_clock: [P1]"))
	if err != nil {
		t.Fatal(err)
	}
	return level
}

func TestDeadlines(t *testing.T) {
	standard, round := sla.Default(), contracted(t)
	for _, tc := range []struct {
		name             string
		level            *sla.Level
		opened, priority string
		respond, resolve string
	}{
		{"within a day", standard, "Tue 2026-06-02 09:00", "P1", "Tue 2026-06-02 09:15", "Tue 2026-06-02 13:00"},
		{"over the night", standard, "Tue 2026-06-02 16:50", "P2", "Wed 2026-06-03 08:20", "Wed 2026-06-03 11:50"},
		{"exactly to the end", standard, "Tue 2026-06-02 13:00", "P2", "Tue 2026-06-02 13:30", "Tue 2026-06-02 17:00"},
		{"over the weekend", standard, "Fri 2026-06-05 16:00", "P1", "Fri 2026-06-05 16:15", "Mon 2026-06-08 11:00"},
		{"reported on Saturday", standard, "Sat 2026-06-06 12:00", "P1", "Mon 2026-06-08 08:15", "Mon 2026-06-08 12:00"},
		{"before opening", standard, "Tue 2026-06-02 03:00", "P3", "Tue 2026-06-02 10:00", "Wed 2026-06-03 08:00"},
		{"same time next day", standard, "Tue 2026-06-02 10:30", "P3", "Tue 2026-06-02 12:30", "Wed 2026-06-03 10:30"},
		{"same time after the weekend", standard, "Fri 2026-06-05 10:30", "P3", "Fri 2026-06-05 12:30", "Mon 2026-06-08 10:30"},
		{"same time from the opening", standard, "Mon 2026-06-08 08:00", "P3", "Mon 2026-06-08 10:00", "Tue 2026-06-09 08:00"},
		{"same time from Saturday", standard, "Sat 2026-06-06 12:00", "P3", "Mon 2026-06-08 10:00", "Tue 2026-06-09 08:00"},
		{"a service day, planned", standard, "Tue 2026-06-02 10:30", "P4", "Wed 2026-06-03 10:30", ""},
		{"a service day from the opening", standard, "Mon 2026-06-08 08:00", "P4", "Mon 2026-06-08 17:00", ""},

		{"around the clock", round, "Sat 2026-06-06 23:00", "P1", "Sat 2026-06-06 23:15", "Sun 2026-06-07 03:00"},
		{"only where contracted", round, "Sat 2026-06-06 23:00", "P2", "Mon 2026-06-08 08:30", "Mon 2026-06-08 12:00"},
		{"around the clock, an hour is missing", round, "Sun 2026-03-29 01:00", "P1", "Sun 2026-03-29 01:15", "Sun 2026-03-29 06:00"},
		{"around the clock, an hour comes twice", round, "Sun 2026-10-25 01:00", "P1", "Sun 2026-10-25 01:15", "Sun 2026-10-25 04:00"},

		{"clocks go forward", standard, "Fri 2026-03-27 16:00", "P2", "Fri 2026-03-27 16:30", "Mon 2026-03-30 11:00"},
		{"clocks go back", standard, "Fri 2026-10-23 16:00", "P3", "Mon 2026-10-26 09:00", "Mon 2026-10-26 16:00"},

		{"Christmas", standard, "Thu 2026-12-24 16:00", "P2", "Thu 2026-12-24 16:30", "Mon 2026-12-28 11:00"},
		{"New Year", standard, "Thu 2026-12-31 16:00", "P3", "Mon 2027-01-04 09:00", "Mon 2027-01-04 16:00"},
		{"Good Friday is worked, Easter Monday is not", standard, "Thu 2026-04-02 16:00", "P2", "Thu 2026-04-02 16:30", "Fri 2026-04-03 11:00"},
		{"over Easter", standard, "Fri 2026-04-03 16:00", "P2", "Fri 2026-04-03 16:30", "Tue 2026-04-07 11:00"},
		{"King's Day", standard, "Fri 2026-04-24 16:00", "P2", "Fri 2026-04-24 16:30", "Tue 2026-04-28 11:00"},
		{"King's Day on a Sunday is kept on Saturday", standard, "Fri 2025-04-25 16:00", "P2", "Fri 2025-04-25 16:30", "Mon 2025-04-28 11:00"},
		{"Liberation Day is worked", standard, "Mon 2026-05-04 16:00", "P2", "Mon 2026-05-04 16:30", "Tue 2026-05-05 11:00"},
		{"Ascension Day", standard, "Wed 2026-05-13 16:00", "P2", "Wed 2026-05-13 16:30", "Fri 2026-05-15 11:00"},
		{"Ascension Day on 5 May", standard, "Wed 2016-05-04 16:00", "P2", "Wed 2016-05-04 16:30", "Fri 2016-05-06 11:00"},
		{"Whit Monday", standard, "Fri 2026-05-22 16:00", "P2", "Fri 2026-05-22 16:30", "Tue 2026-05-26 11:00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clock := sla.Start(moment(t, tc.opened), tc.priority)
			assertDeadline(t, tc.level, clock, sla.Respond, tc.respond)
			assertDeadline(t, tc.level, clock, sla.Resolve, tc.resolve)
		})
	}
}

func assertDeadline(t *testing.T, level *sla.Level, clock sla.Ledger, goal sla.Goal, want string) {
	t.Helper()
	got := ""
	if at := level.Deadline(clock, goal); !at.IsZero() {
		got = at.In(amsterdam(t)).Format("Mon 2006-01-02 15:04")
	}
	if got != want {
		t.Errorf("%s by %q, want %q", goal, got, want)
	}
}

func TestPausesPrioritiesAndReopening(t *testing.T) {
	standard, round := sla.Default(), contracted(t)
	at := func(s string) time.Time { return moment(t, s) }
	for _, tc := range []struct {
		name  string
		level *sla.Level
		clock sla.Ledger
		want  string
	}{
		{
			"a pause of an hour", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Pause(at("Tue 2026-06-02 10:00")).Resume(at("Tue 2026-06-02 11:00")),
			"Tue 2026-06-02 14:00",
		},
		{
			"a pause outside service hours costs nothing", standard,
			sla.Start(at("Tue 2026-06-02 16:00"), "P2").Pause(at("Tue 2026-06-02 18:00")).Resume(at("Wed 2026-06-03 07:00")),
			"Wed 2026-06-03 11:00",
		},
		{
			"while it stands still the clock is taken to run on", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Pause(at("Tue 2026-06-02 10:00")),
			"Tue 2026-06-02 13:00",
		},
		{
			"a pause after the deadline does not move it", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Pause(at("Tue 2026-06-02 15:00")).Resume(at("Tue 2026-06-02 16:00")),
			"Tue 2026-06-02 13:00",
		},
		{
			"a pause moves the same time next service day", standard,
			sla.Start(at("Tue 2026-06-02 10:00"), "P3").Pause(at("Tue 2026-06-02 11:00")).Resume(at("Tue 2026-06-02 13:00")),
			"Wed 2026-06-03 12:00",
		},
		{
			"a higher priority counts what was used", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P3").Reprioritise(at("Tue 2026-06-02 12:00"), "P1"),
			"Tue 2026-06-02 13:00",
		},
		{
			"a lower priority has its whole time from the start", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P1").Reprioritise(at("Tue 2026-06-02 12:00"), "P3"),
			"Wed 2026-06-03 09:00",
		},
		{
			"what passed in service hours stays counted so when P1 runs around the clock", round,
			sla.Start(at("Fri 2026-06-05 16:00"), "P3").Reprioritise(at("Sat 2026-06-06 20:00"), "P1"),
			"Sat 2026-06-06 23:00",
		},
		{
			"reopened on another day", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Pause(at("Tue 2026-06-02 12:00")).Resume(at("Thu 2026-06-04 16:30")),
			"Fri 2026-06-05 08:30",
		},
		{
			"a wall clock set back takes nothing away", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Pause(at("Tue 2026-06-02 08:00")).Resume(at("Tue 2026-06-02 08:30")),
			"Tue 2026-06-02 13:00",
		},
		{
			"a priority that the level no longer has", standard,
			sla.Start(at("Tue 2026-06-02 09:00"), "P2").Reprioritise(at("Tue 2026-06-02 10:00"), "gone"),
			"",
		},
	} {
		t.Run(tc.name, func(t *testing.T) { assertDeadline(t, tc.level, tc.clock, sla.Resolve, tc.want) })
	}
}

func TestWarningBeforeADeadline(t *testing.T) {
	level := sla.Default()
	clock := sla.Start(moment(t, "Fri 2026-06-05 16:00"), "P2")
	for percent, want := range map[int]string{25: "Fri 2026-06-05 17:00", 50: "Mon 2026-06-08 09:00", 75: "Mon 2026-06-08 10:00", 100: "Mon 2026-06-08 11:00"} {
		if got := level.At(clock, sla.Resolve, percent); !got.Equal(moment(t, want)) {
			t.Errorf("%d %% at %v, want %s", percent, got, want)
		}
	}
}

// anyLevel draws one of three levels with different hours.
func anyLevel(t *rapid.T) *sla.Level {
	lunch, err := sla.Parse("lunch.yaml", replace(sla.DefaultFile(),
		"friday: 08:00-17:00", "friday: 00:30-02:45, 13:00-24:00\n  sunday: 00:00-24:00"))
	if err != nil {
		t.Fatal(err)
	}
	return rapid.SampledFrom([]*sla.Level{sla.Default(), contracted(t), lunch}).Draw(t, "level")
}

// anyTime draws a time near a change of the clocks, a holiday, or anywhere.
func anyTime(t *rapid.T, label string) time.Time {
	around := rapid.SampledFrom([]string{"2026-03-28", "2026-10-24", "2026-04-26", "2026-12-24", "2026-06-01", "2027-03-27"}).Draw(t, label+" around")
	day, err := time.Parse(time.DateOnly, around)
	if err != nil {
		t.Fatal(err)
	}
	return day.Add(time.Duration(rapid.IntRange(0, 4*24*3600).Draw(t, label)) * time.Second)
}

// anyClock draws a clock with pauses and changes of priority.
func anyClock(t *rapid.T) sla.Ledger {
	priority := rapid.SampledFrom([]string{"P1", "P2", "P3", "P4"})
	at := anyTime(t, "start")
	clock := sla.Start(at, priority.Draw(t, "priority"))
	for range rapid.IntRange(0, 6).Draw(t, "turns") {
		at = at.Add(time.Duration(rapid.IntRange(0, 30*3600).Draw(t, "after")) * time.Second)
		switch rapid.IntRange(0, 2).Draw(t, "turn") {
		case 0:
			clock = clock.Pause(at)
		case 1:
			clock = clock.Resume(at)
		default:
			clock = clock.Reprioritise(at, priority.Draw(t, "priority"))
		}
	}
	return clock
}

// However a stretch of time is cut up, the same is used.
func TestConsumptionIsTheSameForAnyPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level, from, priority := anyLevel(t), anyTime(t, "from"), rapid.SampledFrom([]string{"P1", "P3"}).Draw(t, "priority")
		whole := sla.Start(from, priority)
		cut := sla.Start(from, priority)
		at := from
		for range rapid.IntRange(1, 8).Draw(t, "cuts") {
			at = at.Add(time.Duration(rapid.IntRange(0, 20*3600).Draw(t, "length")) * time.Second)
			// Paused and resumed at once, or changed to a priority and back: nothing happened.
			cut = cut.Pause(at).Resume(at)
			cut = cut.Reprioritise(at, "P2").Reprioritise(at, priority)
		}
		end := at.Add(time.Duration(rapid.IntRange(0, 72*3600).Draw(t, "rest")) * time.Second)
		if a, b := level.Spent(whole, end), level.Spent(cut, end); a != b {
			t.Fatalf("whole %v, cut %v", a, b)
		}
		for _, goal := range []sla.Goal{sla.Respond, sla.Resolve} {
			if a, b := level.Deadline(whole, goal), level.Deadline(cut, goal); !a.Equal(b) {
				t.Fatalf("%s: whole %v, cut %v", goal, a, b)
			}
		}
	})
}

// At its deadline a clock has used exactly what was agreed, and a moment before less.
func TestDeadlineUsesExactlyTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level, clock := anyLevel(t), anyClock(t)
		clock = clock.Resume(clock[len(clock)-1].From)
		for _, goal := range []sla.Goal{sla.Respond, sla.Resolve} {
			budget, limited := level.Budget(clock, goal)
			deadline := level.Deadline(clock, goal)
			if limited == deadline.IsZero() {
				t.Fatalf("limited %t, deadline %v", limited, deadline)
			}
			if !limited {
				continue
			}
			if spent := level.Spent(clock, deadline); spent != budget {
				t.Fatalf("%s by %v: used %v of %v", goal, deadline, spent, budget)
			}
			if near := level.At(clock, goal, 75); near.After(deadline) {
				t.Fatalf("%s: three quarters at %v, after the deadline %v", goal, near, deadline)
			}
		}
	})
}

// A pause moves the deadline by the service time that it lasted, whenever it is.
func TestAPauseGivesItsTimeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level, from := anyLevel(t), anyTime(t, "from")
		clock := sla.Start(from, "P2")
		deadline := level.Deadline(clock, sla.Resolve)
		before := rapid.Int64Range(0, int64(deadline.Sub(from))-1).Draw(t, "pause after")
		pause := from.Add(time.Duration(before))
		resume := pause.Add(time.Duration(rapid.IntRange(0, 100*3600).Draw(t, "pause")) * time.Second)
		moved := level.Deadline(clock.Pause(pause).Resume(resume), sla.Resolve)
		if given, got := level.Spent(sla.Start(pause, "P2"), resume), level.Spent(sla.Start(deadline, "P2"), moved); given != got {
			t.Fatalf("paused for %v of service time, moved by %v", given, got)
		}
	})
}

// The arithmetic agrees with looking at the clock on the wall every minute.
func TestSpentAgreesWithCountingMinutes(t *testing.T) {
	loc, level := amsterdam(t), sla.Default()
	holidays := map[string]bool{"2026-04-06": true, "2026-04-27": true, "2026-05-14": true, "2026-05-25": true}
	rapid.Check(t, func(t *rapid.T) {
		from := time.Date(2026, 3, 20, 0, rapid.IntRange(0, 60*24*60).Draw(t, "from"), 0, 0, time.UTC)
		minutes := rapid.IntRange(0, 5*24*60).Draw(t, "minutes")
		counted := time.Duration(0)
		for i := range minutes {
			wall := from.Add(time.Duration(i) * time.Minute).In(loc)
			closed := wall.Weekday() == time.Saturday || wall.Weekday() == time.Sunday || holidays[wall.Format(time.DateOnly)]
			if !closed && wall.Hour() >= 8 && wall.Hour() < 17 {
				counted += time.Minute
			}
		}
		if spent := level.Spent(sla.Start(from, "P2"), from.Add(time.Duration(minutes)*time.Minute)); spent != counted {
			t.Fatalf("from %v for %d minutes: %v, counted %v", from.In(loc), minutes, spent, counted)
		}
	})
}

func BenchmarkDeadline(b *testing.B) {
	level := sla.Default()
	clock := sla.Start(time.Date(2026, 6, 5, 14, 0, 0, 0, time.UTC), "P3")
	for b.Loop() {
		level.Deadline(clock, sla.Resolve)
	}
}

func BenchmarkDeadlineOfAHundredReopenings(b *testing.B) {
	level := sla.Default()
	at := time.Date(2026, 6, 5, 6, 0, 0, 0, time.UTC)
	clock := sla.Start(at, "P2")
	for range 100 {
		clock = clock.Pause(at.Add(time.Minute)).Resume(at.Add(time.Hour))
		at = at.Add(time.Hour)
	}
	for b.Loop() {
		level.Deadline(clock, sla.Resolve)
	}
}
