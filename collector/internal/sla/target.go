package sla

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Goal is which of the two times of a priority is meant.
type Goal uint8

// The two goals.
const (
	Respond Goal = iota
	Resolve
)

// String returns the goal's name.
func (g Goal) String() string {
	if g == Respond {
		return "respond"
	}
	return "resolve"
}

// Target is a time agreed to. The zero Target is "planned": no time at all.
type Target struct {
	// Work is an amount of service time.
	Work time.Duration
	// Days is a number of service days: the service time between the start of the
	// clock and the same time of day that many service days later.
	Days int
	// SameTime makes a target of days end at that time of day on the clock itself,
	// where an amount of time could end with the hours of the day before: what starts
	// at 08:00 on Monday is due at 08:00 on Tuesday, and not at 17:00 on Monday.
	SameTime bool
}

// Planned reports whether there is no time to hold.
func (t Target) Planned() bool { return t == Target{} }

// String writes the target as ParseTarget reads it.
func (t Target) String() string {
	switch {
	case t.Planned():
		return "planned"
	case t.SameTime:
		return "the same time next service day"
	case t.Days == 1:
		return "1 service day"
	case t.Days > 1:
		return strconv.Itoa(t.Days) + " service days"
	}
	return shortDuration(t.Work)
}

// shortDuration writes 4h rather than 4h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the target as ParseTarget reads it.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a target.
func (t *Target) UnmarshalText(text []byte) error {
	parsed, err := ParseTarget(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}

var daysRE = regexp.MustCompile(`^(\d{1,3}) service days?$`)

// ParseTarget reads a time as people agree to it: "15m", "4h", "1 service day",
// "5 service days", "the same time next service day", or "planned".
func ParseTarget(s string) (Target, error) {
	s = strings.TrimSpace(s)
	switch strings.TrimPrefix(s, "the ") {
	case "planned":
		return Target{}, nil
	case "same time next service day":
		return Target{Days: 1, SameTime: true}, nil
	}
	if m := daysRE.FindStringSubmatch(s); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			return Target{Days: n}, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 && d <= maxWork {
		return Target{Work: d}, nil
	}
	return Target{}, fmt.Errorf("%q is not a time such as 15m, 4h, 2 service days, the same time next service day, or planned", s)
}

// maxWork bounds an amount of service time: with a minute of service a week it still ends
// within a calendar that other programs can read.
const maxWork = 1000 * time.Hour
