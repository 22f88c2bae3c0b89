// Package rules judges results: given what was known of a check state, a new
// result and the rules that apply to it, it says what is known now and what
// changed. It is pure: time comes in with the result, and nothing goes out but the
// answer.
package rules

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// Level is what a rule says of a check state.
type Level uint8

// The levels. Unknown means that a result came but said nothing that the rule
// could judge; Stale that no result came in time. Neither is ever OK.
const (
	OK Level = iota
	Warning
	Critical
	Unknown
	Stale
)

var levelNames = [...]string{"ok", "warning", "critical", "unknown", "stale"}

// String returns the level's name in lower case.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range levelNames {
		if name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a level", text)
}

// severity orders levels for the worst of several: what may be wrong is worse than
// a warning, and what is known to be broken is worst.
func (l Level) severity() int {
	switch l {
	case OK:
		return 0
	case Warning:
		return 1
	case Unknown:
		return 2
	case Stale:
		return 3
	default:
		return 4
	}
}

// Subject says what is judged; layers of rules are chosen by it.
type Subject struct {
	// Host is what people call the host, HostID its id where it is known too.
	Customer, Site, Host, HostID string
	Role                         string
	Labels                       map[string]string
	Check, Instance              string
	Item                         string
}

// Column is one metric of a result's values.
type Column struct {
	Name   string
	Labels []checks.Label
}

// Observation is one result, received.
type Observation struct {
	Status checks.Status
	// Values stand in the order of the columns that the program was compiled for; NaN
	// is a figure that could not be had.
	Values []float64
	// Received is the collector's time, which orders states; Planned the tick that
	// the agent meant, corrected to the collector's clock. Zero stands for Received.
	Received, Planned time.Time
	// NextWithin is how long after Received the state stays fresh; 0 is for ever.
	NextWithin time.Duration
}

// Freshness is the name under which a check state's own coming and going is told:
// from OK to Unknown (a result that could not judge) or Stale (no result), and back.
// No rule can be called so.
const Freshness = "freshness"

// Transition is one change of what one rule says of a check state. From and To are
// equal when the level stays and only Flapping begins or ends.
type Transition struct {
	// Rule is the name of a rule or forecast, or Freshness.
	Rule string    `json:"rule"`
	From Level     `json:"from"`
	To   Level     `json:"to"`
	At   time.Time `json:"at"`
	// Flapping says that the level is held up while it goes to and fro.
	Flapping bool `json:"flapping,omitempty"`
	// Vanished says that the item ended not by being fixed but by being gone.
	Vanished bool `json:"vanished,omitempty"`
	// Why shows the condition and the values that it was judged by.
	Why string `json:"why"`
}
