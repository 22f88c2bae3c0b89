package incident

import (
	"fmt"
	"slices"
	"time"

	"github.com/wacht-io/wacht/collector/internal/sla"
)

// alarm is what is told of a goal: that its deadline is near, and that it was missed.
type alarm struct {
	goal         sla.Goal
	near, missed string
}

var alarms = [...]alarm{
	{sla.Respond, RespondNear, RespondMissed},
	{sla.Resolve, ResolveNear, ResolveMissed},
}

func (in *Incident) told(event string) bool { return slices.Contains(in.Told, event) }

// counts reports whether the clock of a goal runs.
func (in *Incident) counts(goal sla.Goal) bool {
	return in.State == Open && in.Clock.Running() && (goal == sla.Resolve || in.RespondedAt.IsZero())
}

// NextAlarm is when there is next something to tell of a deadline, or the zero time.
// Near is the part of the time, in percent, after which its end is near.
func (in *Incident) NextAlarm(level *sla.Level, near int) time.Time {
	var next time.Time
	for _, a := range alarms {
		if !in.counts(a.goal) || in.told(a.missed) {
			continue
		}
		percent := 100
		if !in.told(a.near) {
			percent = near
		}
		if at := level.At(in.Clock, a.goal, percent); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Alarm records the deadlines that are near or missed at a time and not told of yet,
// and returns their events. What is missed already is no longer near.
func (in *Incident) Alarm(level *sla.Level, near int, now time.Time) []string {
	var events []string
	for _, a := range alarms {
		if !in.counts(a.goal) || in.told(a.missed) {
			continue
		}
		deadline := level.Deadline(in.Clock, a.goal)
		switch {
		case deadline.IsZero():
		case !deadline.After(now):
			events = append(events, a.missed)
			in.tell(Entry{At: now, Event: a.missed, Text: fmt.Sprintf("Nobody could %s in time", a.goal)}, a.near, a.missed)
		case !in.told(a.near) && !level.At(in.Clock, a.goal, near).After(now):
			events = append(events, a.near)
			in.tell(Entry{At: now, Event: a.near, Text: fmt.Sprintf("%d %% of the time to %s is used", near, a.goal)}, a.near)
		}
	}
	return events
}

// tell notes an entry and remembers its events. The list is replaced and not extended:
// copies of the incident share it.
func (in *Incident) tell(e Entry, events ...string) {
	told := slices.Clone(in.Told)
	for _, event := range events {
		if !slices.Contains(told, event) {
			told = append(told, event)
		}
	}
	in.Told = told
	in.Note(e)
}

func droppedText(n int) string {
	if n == 1 {
		return "1 older entry was left out"
	}
	return fmt.Sprintf("%d older entries were left out", n)
}
