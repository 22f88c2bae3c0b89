package sla

import (
	"slices"
	"time"
)

// Ledger is the clock of a ticket: intervals in order, each lasting until the next
// begins, the last one until further notice. Its methods return a new ledger and
// leave the old one as it was.
type Ledger []Interval

// Interval is a time in which the clock ran at one priority, or stood still.
type Interval struct {
	From     time.Time `json:"from"`
	Running  bool      `json:"running"`
	Priority string    `json:"priority"`
}

// Start is a ledger that runs from a time on.
func Start(at time.Time, priority string) Ledger {
	return Ledger{{From: at.UTC().Round(0), Running: true, Priority: priority}}
}

// Pause stops the clock: waiting for somebody else, or resolved.
func (c Ledger) Pause(at time.Time) Ledger { return c.turn(at, false, c.last().Priority) }

// Resume lets the clock run on from where it stood: a reopened ticket, for one.
func (c Ledger) Resume(at time.Time) Ledger { return c.turn(at, true, c.last().Priority) }

// Reprioritise lets the targets of another priority hold from now on. Time that was
// used stays used, counted by the hours of the priority under which it passed.
func (c Ledger) Reprioritise(at time.Time, priority string) Ledger {
	return c.turn(at, c.last().Running, priority)
}

// Running reports whether the clock runs.
func (c Ledger) Running() bool { return c.last().Running }

// Priority returns the priority that holds now.
func (c Ledger) Priority() string { return c.last().Priority }

func (c Ledger) last() Interval {
	if len(c) == 0 {
		return Interval{}
	}
	return c[len(c)-1]
}

// turn begins an interval. A time before the last interval's start (a wall clock set
// back) is taken as that start: a ledger never goes backwards.
func (c Ledger) turn(at time.Time, running bool, priority string) Ledger {
	next := Interval{From: at.UTC().Round(0), Running: running, Priority: priority}
	last := c.last()
	if next.From.Before(last.From) {
		next.From = last.From
	}
	if len(c) > 0 && last.Running == running && last.Priority == priority {
		return c
	}
	return append(slices.Clip(c), next)
}

// Spent is the service time that the clock used up to a time.
func (l *Level) Spent(c Ledger, until time.Time) time.Duration {
	var sum time.Duration
	for i, interval := range c {
		to := until
		if i+1 < len(c) && c[i+1].From.Before(until) {
			to = c[i+1].From
		}
		if interval.Running && to.After(interval.From) {
			sum += l.hours(interval.Priority).between(interval.From, to)
		}
	}
	return sum
}

// Budget is the service time that a goal leaves a clock in all, by its newest
// priority, and whether there is any such limit.
func (l *Level) Budget(c Ledger, goal Goal) (time.Duration, bool) {
	budget, _, ok := l.budget(c, goal)
	return budget, ok
}

// budget also tells whether the target is a time of day, which an amount of time
// reaches only when the next service time begins.
func (l *Level) budget(c Ledger, goal Goal) (budget time.Duration, sameTime, ok bool) {
	target := l.target(c.Priority(), goal)
	if len(c) == 0 || target.Planned() {
		return 0, false, false
	}
	if target.Days == 0 {
		return target.Work, false, true
	}
	h, start := l.hours(c.Priority()), c[0].From
	return h.between(start, h.sameTime(start, target.Days)), target.SameTime, true
}

// Deadline is when a goal is missed, or the zero time when there is no such limit.
// A clock that stands still is taken to run on from there: what has been resolved
// keeps the deadline that it was held to, and what waits gets a later one when it
// goes on.
func (l *Level) Deadline(c Ledger, goal Goal) time.Time { return l.At(c, goal, 100) }

// At is when so many percent of the time for a goal are used: Deadline is At 100, and
// a warning before it is At less, by the same arithmetic.
func (l *Level) At(c Ledger, goal Goal, percent int) time.Time {
	budget, sameTime, ok := l.budget(c, goal)
	if !ok {
		return time.Time{}
	}
	if percent != 100 {
		budget, sameTime = budget/100*time.Duration(percent), false
	}
	for i, interval := range c {
		var to time.Time
		if i+1 < len(c) {
			to = c[i+1].From
		} else {
			interval.Running = true
		}
		if !interval.Running {
			continue
		}
		at, rest := l.hours(interval.Priority).spend(interval.From, to, budget, sameTime)
		if !at.IsZero() {
			return at.UTC()
		}
		budget = rest
	}
	return time.Time{}
}

// spend goes forward from a time until the budget is used, and tells when that is; or
// until to (the zero time meaning never), and tells what is left. With exceed it goes
// on to the moment at which time beyond the budget would be used.
func (h *hours) spend(from, to time.Time, budget time.Duration, exceed bool) (at time.Time, rest time.Duration) {
	for w := h.walk(from); ; {
		open, closed := w.next()
		if !to.IsZero() {
			if !open.Before(to) {
				return time.Time{}, budget
			}
			if closed.After(to) {
				closed = to
			}
		}
		length := closed.Sub(open)
		if budget < length || (budget == length && !exceed) {
			return open.Add(budget), 0
		}
		budget -= length
	}
}
