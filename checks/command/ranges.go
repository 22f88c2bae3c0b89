package command

import (
	"fmt"
	"math"
	"strings"
)

// Range is a range of the Monitoring Plugins
// (https://www.monitoring-plugins.org/doc/guidelines.html, "Threshold and Ranges"): a
// value that is outside raises an alert, or one that is inside when Inside is set. Both ends
// belong to the range; an end that is open is an infinity.
type Range struct {
	Start, End float64
	Inside     bool
	// StartGiven says that the start was written, and is not the 0 that stands where
	// none is.
	StartGiven bool
}

// ParseRange reads a range: 10 (0 to 10), 10: (10 and up), ~:10 (10 and down), 10:20,
// or @10:20 for the alert inside.
func ParseRange(text string) (Range, error) {
	rest, inside := strings.CutPrefix(text, "@")
	r := Range{End: math.Inf(1), Inside: inside}
	start, end, two := strings.Cut(rest, ":")
	if !two {
		start, end = "", rest
	}
	var err error
	switch r.StartGiven = start != ""; start {
	case "":
	case "~":
		r.Start = math.Inf(-1)
	default:
		r.Start, err = number(start)
	}
	if err == nil && (end != "" || !two) {
		r.End, err = number(end)
	}
	if err != nil {
		return Range{}, fmt.Errorf("%q is not a range such as 10, 10:, ~:10, 10:20 or @10:20: %w", text, err)
	}
	if r.Start > r.End {
		return Range{}, fmt.Errorf("the range %q begins above its end", text)
	}
	return r, nil
}

// Alerts says whether the value raises an alert.
func (r Range) Alerts(value float64) bool {
	return (value >= r.Start && value <= r.End) == r.Inside
}
