// Package problem is the unknown cause of actual or potential incidents: found by a
// forecast or a rule before it hurts, and worked on when planned.
package problem

import "time"

// State is where a problem is in its life.
type State string

// A problem is open until its cause is gone.
const (
	Open     State = "open"
	Resolved State = "resolved"
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
	Item     string `json:"item,omitempty"`
	Rule     string `json:"rule,omitempty"`

	OpenedAt   time.Time `json:"opened_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// ReachedAt is when the forecast says the limit will be reached.
	ReachedAt time.Time `json:"reached_at,omitzero"`
	Why       string    `json:"why"`
	Revision  int       `json:"revision"`
}
