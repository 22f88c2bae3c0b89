// Package incident is an interruption or a loss of quality, found by a rule or
// reported by a person: its life from opening to closing and the clock on it.
package incident

import (
	"time"

	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/sla"
)

// State is where an incident is in its life.
type State string

// An incident is open until its cause is gone or a person says that it is solved,
// and closed when nobody reopened it for the reopen time.
const (
	Open     State = "open"
	Resolved State = "resolved"
	Closed   State = "closed"
)

// How an incident was resolved. What is fixed was seen to be fine again; what is no
// longer observed may be as bad as it was.
const (
	Fixed       = "fixed"
	NotObserved = "not-observed"
	ByPerson    = "person"
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
	// Instance tells apart checks of one kind on one host; most have none.
	Instance string `json:"instance,omitempty"`
	Item     string `json:"item,omitempty"`
	// Rule is empty for what a person reported.
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

	// Opens is the level from which the rule opens an incident, Level what it says now
	// and QuietSince since when it says that all is well (after a person resolved it).
	Opens      rules.Level `json:"opens,omitzero"`
	Level      rules.Level `json:"level,omitzero"`
	QuietSince time.Time   `json:"quiet_since,omitzero"`
	// Held says that a person reopened it although its rule saw nothing wrong. They know
	// better: it stays open until a person resolves it, or a new breach ends.
	Held bool `json:"held,omitempty"`
	// Clock is the ledger that the deadlines are computed from.
	Clock sla.Ledger `json:"clock,omitempty"`
	// Told names the deadlines that were warned of or missed, so that each is told once.
	Told []string `json:"told,omitempty"`

	Timeline []Entry `json:"timeline,omitempty"`
	// Dropped counts the timeline entries that were left out to keep it readable.
	Dropped int `json:"timeline_dropped,omitempty"`
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
	// Evidence is what the check saw.
	Evidence string `json:"evidence,omitempty"`
}

// What an entry of the timeline can say.
const (
	Opened         = "opened"
	Occurred       = "occurred"
	Worsened       = "worsened"
	Eased          = "eased"
	Unsure         = "unsure"
	Flaps          = "flaps"
	Recovered      = "recovered"
	Reprioritised  = "reprioritised"
	Taken          = "taken"
	Commented      = "commented"
	WasResolved    = "resolved"
	Reopened       = "reopened"
	WasClosed      = "closed"
	RespondNear    = "respond-near"
	RespondMissed  = "respond-missed"
	ResolveNear    = "resolve-near"
	ResolveMissed  = "resolve-missed"
	EntriesDropped = "dropped"
)

// Wacht is who did what no person did.
const Wacht = "wacht"

// Breached reports whether the rule still says what opened the incident.
func (in *Incident) Breached() bool {
	return in.Level == rules.Critical || (in.Level == rules.Warning && in.Opens == rules.Warning)
}

// QuietFrom is since when neither the incident nor its cause was there; the zero time
// when one of them is.
func (in *Incident) QuietFrom() time.Time {
	switch {
	case in.State == Open || in.Breached():
		return time.Time{}
	case in.QuietSince.After(in.ResolvedAt):
		return in.QuietSince
	}
	return in.ResolvedAt
}
