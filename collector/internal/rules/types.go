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

// Subject says what is judged; layers of rules are chosen by it.
type Subject struct {
	Customer, Site, Host string
	Role                 string
	Labels               map[string]string
	Check, Instance      string
	Item                 string
}

// Column is one metric of a result's values.
type Column struct {
	Name   string
	Labels []checks.Label
}

// Observation is one result, received.
type Observation struct {
	Status checks.Status
	// Values stand in the order of the columns that the program was compiled for.
	Values []float64
	// Received is the collector's time, which orders states; Planned the tick that
	// the agent meant, corrected to the collector's clock.
	Received, Planned time.Time
	// NextWithin is how long after Received the state stays fresh.
	NextWithin time.Duration
}

// Transition is one change of what one rule says of a check state.
type Transition struct {
	Rule     string    `json:"rule"`
	From     Level     `json:"from"`
	To       Level     `json:"to"`
	At       time.Time `json:"at"`
	Flapping bool      `json:"flapping,omitempty"`
	// Vanished says that the item ended not by being fixed but by being gone.
	Vanished bool `json:"vanished,omitempty"`
	// Why shows the condition and the values that it was judged by.
	Why string `json:"why"`
}
