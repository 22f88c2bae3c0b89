package incident

import (
	"slices"
	"time"

	"github.com/wacht-io/wacht/collector/internal/sla"
)

// Bounds of a timeline. What is dropped is the oldest but for the opening, a quarter
// at a time, and counted.
const (
	MaxEntries       = 500
	MaxTimelineBytes = 1 << 20
)

// MaxOccurrences is how often one number is reopened by its cause. What comes back
// more often gets a new number, since nobody reads so long a story to its end.
const MaxOccurrences = 100

// Begin opens an incident whose subject and priority are set.
func (in *Incident) Begin(level *sla.Level, e Entry) {
	in.State, in.OpenedAt, in.Occurrences = Open, e.At, 1
	in.Clock = sla.Start(e.At, in.Priority)
	e.Event = Opened
	in.setDeadlines(level)
	in.Note(e)
}

// Resolve stops the clock and says how the incident ended.
func (in *Incident) Resolve(e Entry, ending string) {
	in.State, in.ResolvedAt, in.Ending = Resolved, e.At, ending
	in.Flapping, in.Held = false, false
	in.QuietSince = time.Time{}
	in.Clock = in.Clock.Pause(e.At)
	e.Event = WasResolved
	in.Note(e)
}

// Reopen lets the clock run on from where it stood.
func (in *Incident) Reopen(level *sla.Level, e Entry) {
	in.State, in.ResolvedAt, in.Ending, in.QuietSince = Open, time.Time{}, "", time.Time{}
	in.Clock = in.Clock.Resume(e.At)
	in.setDeadlines(level)
	e.Event = Reopened
	in.Note(e)
}

// Close ends what was resolved, for good.
func (in *Incident) Close(e Entry) {
	in.State, in.ClosedAt = Closed, e.At
	e.Event = WasClosed
	in.Note(e)
}

// Respond records that somebody works on it, which stops the clock for the response.
func (in *Incident) Respond(by string, at time.Time) {
	in.Assignee = by
	if in.RespondedAt.IsZero() {
		in.RespondedAt = at
	}
}

// Reprioritise sets another priority, and forgets to have told of deadlines that are in
// the future again. Near is the percentage that NextAlarm is given.
func (in *Incident) Reprioritise(level *sla.Level, priority string, near int, e Entry) {
	in.Priority = priority
	in.Clock = in.Clock.Reprioritise(e.At, priority)
	in.setDeadlines(level)
	var told []string
	for _, a := range alarms {
		for event, percent := range map[string]int{a.near: near, a.missed: 100} {
			at := level.At(in.Clock, a.goal, percent)
			if in.told(event) && !at.IsZero() && !at.After(e.At) {
				told = append(told, event)
			}
		}
	}
	slices.Sort(told)
	in.Told = told
	e.Event = Reprioritised
	in.Note(e)
}

// setDeadlines computes the deadlines anew; the one for the response stands once
// somebody responded.
func (in *Incident) setDeadlines(level *sla.Level) {
	if in.RespondedAt.IsZero() {
		in.RespondBy = level.Deadline(in.Clock, sla.Respond)
	}
	in.ResolveBy = level.Deadline(in.Clock, sla.Resolve)
}

// Note writes a line of history.
func (in *Incident) Note(e Entry) {
	if e.By == "" {
		e.By = Wacht
	}
	in.Revision++
	// Copies of the incident share the entries up to their own length: appending
	// leaves those alone.
	in.Timeline = append(in.Timeline, e)
	if len(in.Timeline) > MaxEntries || timelineBytes(in.Timeline) > MaxTimelineBytes {
		in.shorten()
	}
}

func timelineBytes(entries []Entry) int {
	sum := 0
	for i := range entries {
		e := &entries[i]
		sum += len(e.By) + len(e.Text) + len(e.Why) + len(e.Evidence)
	}
	return sum
}

// shorten keeps the opening, a line that counts what is gone, and the newest entries
// up to three quarters of each bound.
func (in *Incident) shorten() {
	opening, rest := in.Timeline[0], in.Timeline[1:]
	if len(rest) > 0 && rest[0].Event == EntriesDropped {
		rest = rest[1:]
	}
	before := len(rest)
	rest = rest[max(0, before-MaxEntries*3/4):]
	for len(rest) > 1 && timelineBytes(rest) > MaxTimelineBytes*3/4 {
		rest = rest[1:]
	}
	in.Dropped += before - len(rest)
	gap := Entry{At: rest[0].At, By: Wacht, Event: EntriesDropped, Text: droppedText(in.Dropped)}
	in.Timeline = append([]Entry{opening, gap}, rest...)
}
