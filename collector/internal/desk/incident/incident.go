// Package incident is an interruption or a loss of quality, found by a rule or
// reported by a person: its life from opening to closing and the clock on it.
package incident

import "time"

// State is where an incident is in its life.
type State string

// An incident is open until its cause is gone or a person says that it is solved,
// and closed when nobody reopened it for the reopen time.
const (
	Open     State = "open"
	Resolved State = "resolved"
	Closed   State = "closed"
)

// Incident is one ticket, as it is stored and as the API answers it.
type Incident struct {
	Number      string `json:"number"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	State       State  `json:"state"`
	// Kind is incident, question, request or change-request.
	Kind     string `json:"kind"`
	Category string `json:"category"`
	Impact   string `json:"impact"`
	Urgency  string `json:"urgency"`
	// Priority is P1 to P4, from impact and urgency by the service level.
	Priority string `json:"priority"`

	Customer string `json:"customer"`
	Site     string `json:"site"`
	// Host is the host's id, HostName what people call it.
	Host     string `json:"host,omitempty"`
	HostName string `json:"host_name,omitempty"`
	Service  string `json:"service,omitempty"`
	Check    string `json:"check,omitempty"`
	Item     string `json:"item,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Reporter string `json:"reporter,omitempty"`

	OpenedAt    time.Time `json:"opened_at"`
	RespondBy   time.Time `json:"respond_by,omitzero"`
	ResolveBy   time.Time `json:"resolve_by,omitzero"`
	RespondedAt time.Time `json:"responded_at,omitzero"`
	ResolvedAt  time.Time `json:"resolved_at,omitzero"`
	ClosedAt    time.Time `json:"closed_at,omitzero"`
	// Ending says how it was resolved: fixed, not-observed, or person.
	Ending      string `json:"ending,omitempty"`
	Occurrences int    `json:"occurrences"`
	Assignee    string `json:"assignee,omitempty"`
	Team        string `json:"team,omitempty"`
	Flapping    bool   `json:"flapping,omitempty"`

	Timeline []Entry `json:"timeline,omitempty"`
	// Revision rises with every change, so that a reader can tell versions apart.
	Revision int `json:"revision"`
}

// Entry is one line of an incident's history.
type Entry struct {
	At time.Time `json:"at"`
	// By is a person's name, or "wacht".
	By string `json:"by"`
	// Event is opened, occurred, worsened, taken, commented, resolved, reopened, closed …
	Event string `json:"event"`
	Text  string `json:"text,omitempty"`
	// Why is the trace of the rule's or desk's decision.
	Why string `json:"why,omitempty"`
}
