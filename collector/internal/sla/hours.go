package sla

import "time"

// hours are the times in which a clock counts: spans of local time per weekday, none
// on a holiday. There is at least one span.
type hours struct {
	loc      *time.Location
	week     [7][]span
	holidays holidays
}

// span is a part of a day, in minutes since midnight as a clock on the wall shows
// them: 480 to 1020 is 08:00 to 17:00, also on days with 23 or 25 hours.
type span struct{ from, to int }

var wholeDay = []span{{0, 24 * 60}}

// aroundTheClock is the hours of what is never closed, in a zone.
func aroundTheClock(loc *time.Location) hours {
	h := hours{loc: loc}
	for day := range h.week {
		h.week[day] = wholeDay
	}
	return h
}

// date is a day of the calendar; day may lie outside the month, as in time.Date.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// at is the time that the wall clock shows as so many minutes after midnight.
func (d date) at(minutes int, loc *time.Location) time.Time {
	return time.Date(d.year, d.month, d.day, 0, minutes, 0, 0, loc)
}

// plain brings the day into its month, and tells the weekday.
func (d date) plain() (date, time.Weekday) {
	t := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC)
	return dateOf(t), t.Weekday()
}

// spans returns the spans of a day, which is plain.
func (h *hours) spans(d date, weekday time.Weekday) []span {
	spans := h.week[weekday]
	if len(spans) > 0 && h.holidays.has(d) {
		return nil
	}
	return spans
}

// walker goes through the open intervals from a time on, one after the other.
type walker struct {
	h     *hours
	after time.Time
	day   date
	spans []span
}

func (h *hours) walk(from time.Time) walker {
	w := walker{h: h, after: from}
	var weekday time.Weekday
	w.day, weekday = dateOf(from.In(h.loc)).plain()
	w.spans = h.spans(w.day, weekday)
	return w
}

// next returns the next open interval that is not over at the walker's start; the
// first one begins no earlier than that. Holidays never fill the weeks, so there
// always is one.
func (w *walker) next() (open, closed time.Time) {
	for {
		for len(w.spans) > 0 {
			s := w.spans[0]
			w.spans = w.spans[1:]
			open, closed = w.day.at(s.from, w.h.loc), w.day.at(s.to, w.h.loc)
			if open.Before(w.after) {
				open = w.after
			}
			if closed.After(open) {
				return open, closed
			}
		}
		var weekday time.Weekday
		w.day.day++
		w.day, weekday = w.day.plain()
		w.spans = w.h.spans(w.day, weekday)
	}
}

// between is the open time from one time to another.
func (h *hours) between(from, to time.Time) time.Duration {
	var sum time.Duration
	for w := h.walk(from); ; {
		open, closed := w.next()
		if !open.Before(to) {
			return sum
		}
		if closed.After(to) {
			closed = to
		}
		sum += closed.Sub(open)
	}
}

// sameTime is the time of day of from (or of the next opening, when closed then)
// so many service days later. A time at which that day is closed is put at the end of
// the open time before it.
func (h *hours) sameTime(from time.Time, days int) time.Time {
	w := h.walk(from)
	start, _ := w.next()
	local := start.In(h.loc)
	d := w.day
	for days > 0 {
		var weekday time.Weekday
		d.day++
		d, weekday = d.plain()
		if len(h.spans(d, weekday)) > 0 {
			days--
		}
	}
	// Not in minutes since midnight: seconds count too.
	return time.Date(d.year, d.month, d.day, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), h.loc)
}
