// Package problem is the unknown cause of actual or potential incidents: found by a
// forecast or a rule before it hurts, and worked on when planned.
package problem

import (
	"time"

	"github.com/wacht-io/wacht/collector/internal/rules"
)

// State is where a problem is in its life.
type State string

// A problem is open until its cause is gone.
const (
	Open     State = "open"
	Resolved State = "resolved"
)

// The events of a problem that people are told of.
const (
	WasOpened   = "problem-opened"
	WasReopened = "problem-reopened"
	WasResolved = "problem-resolved"
)

// Problem is one record, as it is stored and as the API answers it.
type Problem struct {
	Number   string `json:"number"`
	Title    string `json:"title"`
	State    State  `json:"state"`
	Category string `json:"category"`
	Impact   string `json:"impact"`
	Urgency  string `json:"urgency"`
	Priority string `json:"priority"`
	Customer string `json:"customer"`
	Site     string `json:"site"`
	Host     string `json:"host,omitempty"`
	HostName string `json:"host_name,omitempty"`
	Check    string `json:"check,omitempty"`
	// Instance tells apart checks of one kind on one host; most have none.
	Instance string `json:"instance,omitempty"`
	Item     string `json:"item,omitempty"`
	Rule     string `json:"rule,omitempty"`
	// Forecast says that the rule is one over history, and not over one result.
	Forecast bool `json:"forecast,omitempty"`

	OpenedAt   time.Time `json:"opened_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// Ending says how it was resolved: fixed or not-observed, as of incidents.
	Ending      string `json:"ending,omitempty"`
	Occurrences int    `json:"occurrences"`
	// Opens is the level from which the rule makes a problem, Level what it says now.
	Opens rules.Level `json:"opens,omitzero"`
	Level rules.Level `json:"level,omitzero"`
	// ReachedAt is when the forecast says the limit will be reached.
	ReachedAt time.Time `json:"reached_at,omitzero"`
	// Confidence is how well the trend of the forecast fits, R² from 0 to 1.
	Confidence float64 `json:"confidence,omitempty"`
	Why        string  `json:"why"`
	Revision   int     `json:"revision"`
}

// Begin opens a problem whose subject and priority are set.
func (p *Problem) Begin(at time.Time, why string) {
	p.State, p.OpenedAt, p.Occurrences = Open, at, 1
	p.update(at, why)
}

// Reopen takes up again what was thought to be over.
func (p *Problem) Reopen(at time.Time, why string) {
	p.State, p.ResolvedAt, p.Ending = Open, time.Time{}, ""
	p.Occurrences++
	p.update(at, why)
}

// Update records what is known now.
func (p *Problem) Update(at time.Time, why string) { p.update(at, why) }

// Resolve ends it.
func (p *Problem) Resolve(at time.Time, ending, why string) {
	p.State, p.ResolvedAt, p.Ending = Resolved, at, ending
	p.update(at, why)
}

func (p *Problem) update(at time.Time, why string) {
	p.UpdatedAt, p.Why = at, why
	p.Revision++
}

// Moved reports whether a forecast says something else than before: its date moved by
// a day and by a tenth of the time that was left. Less is noise, and not worth a
// revision at each evaluation.
func (p *Problem) Moved(now, reached time.Time) bool {
	if reached.IsZero() || p.ReachedAt.IsZero() {
		return !reached.Equal(p.ReachedAt)
	}
	moved := reached.Sub(p.ReachedAt).Abs()
	return moved >= 24*time.Hour && moved >= p.ReachedAt.Sub(now)/10
}
