package desk

import (
	"container/heap"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
)

// timers is a heap of times to look at a number. What was rescheduled leaves its old
// entry behind, which is recognised when it comes up.
type timers []timer

type timer struct {
	at     time.Time
	number string
}

func (t timers) Len() int { return len(t) }

func (t timers) Less(i, j int) bool {
	if t[i].at.Equal(t[j].at) {
		return compareNumbers(t[i].number, t[j].number) < 0
	}
	return t[i].at.Before(t[j].at)
}

func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// schedule computes when a ticket is next looked at.
func (d *Desk) schedule(t *ticket) {
	var due time.Time
	switch t.State {
	case incident.Open:
		due = t.NextAlarm(d.cfg.Level, d.cfg.NearPercent)
	case incident.Resolved:
		due = t.ResolvedAt.Add(d.cfg.CloseAfter)
	}
	if due.Equal(t.due) {
		return
	}
	t.due = due
	d.push(due, t.Number)
}

// scheduleProblem lets a resolved problem be forgotten when it can't be reopened.
func (d *Desk) scheduleProblem(p *problem.Problem) { d.push(d.problemDue(p), p.Number) }

func (d *Desk) problemDue(p *problem.Problem) time.Time {
	if p.State == problem.Open {
		return time.Time{}
	}
	return p.ResolvedAt.Add(d.cfg.ProblemReopenWithin).Add(1)
}

func (d *Desk) push(at time.Time, number string) {
	if !at.IsZero() {
		heap.Push(&d.timers, timer{at, number})
	}
}

// nextTimer drops what is out of date and returns the next time, or zero.
func (d *Desk) nextTimer() time.Time {
	for len(d.timers) > 0 {
		if first := d.timers[0]; d.dueOf(first.number).Equal(first.at) {
			return first.at
		}
		heap.Pop(&d.timers)
	}
	return time.Time{}
}

func (d *Desk) dueOf(number string) time.Time {
	if t := d.tickets[number]; t != nil {
		return t.due
	}
	if p := d.problems[number]; p != nil {
		return d.problemDue(p)
	}
	return time.Time{}
}

// nextDue takes the next number that is due at a time.
func (d *Desk) nextDue(now time.Time) (string, bool) {
	if at := d.nextTimer(); at.IsZero() || at.After(now) {
		return "", false
	}
	number := heap.Pop(&d.timers).(timer).number
	if t := d.tickets[number]; t != nil {
		t.due = time.Time{}
	}
	return number, true
}
