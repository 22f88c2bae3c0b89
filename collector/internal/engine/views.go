package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// HostView is a host as of one moment.
type HostView struct {
	inventory.Host
	// Connected says that the host's stream is open; Silent that it should be and is not.
	Connected bool      `json:"connected"`
	Silent    bool      `json:"silent"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	// SkewSeconds is how far the host's clock is ahead of the collector's.
	SkewSeconds float64 `json:"skew_seconds"`
	// Level is the worst of the host's check states.
	Level         rules.Level `json:"level"`
	States        int         `json:"states"`
	Critical      int         `json:"critical"`
	Warning       int         `json:"warning"`
	OpenIncidents int         `json:"open_incidents"`
	// Findings are what the collector noticed about the host's agent itself: runs
	// that were refused or lost, a clock that is off, a copied state folder.
	Findings []Finding `json:"findings,omitempty"`
}

// Finding is one thing that the collector noticed about an agent, newest last.
type Finding struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"`
	Text  string    `json:"text"`
}

// HostDetail is a host with its check states.
type HostDetail struct {
	HostView
	Checks []StateView `json:"checks"`
	// Refused lists the tasks that the agent did not take over from the policy.
	Refused []RefusedTask `json:"refused,omitempty"`
}

// RefusedTask is a part of the policy that an agent refused, with its reason.
type RefusedTask struct {
	Check    string `json:"check"`
	Instance string `json:"instance,omitempty"`
	Reason   string `json:"reason"`
}

// StateView is one check state.
type StateView struct {
	Check    string        `json:"check"`
	Instance string        `json:"instance,omitempty"`
	Item     string        `json:"item,omitempty"`
	Level    rules.Level   `json:"level"`
	Since    time.Time     `json:"since,omitzero"`
	Status   checks.Status `json:"status"`
	Summary  string        `json:"summary"`
	Evidence string        `json:"evidence,omitempty"`
	LastSeen time.Time     `json:"last_seen,omitzero"`
	Metrics  []MetricView  `json:"metrics,omitempty"`
	// Incidents are the numbers of the open incidents about this state.
	Incidents []string `json:"incidents,omitempty"`
}

// MetricView is one figure of the newest result. Name is without prefix; in
// Prometheus' exposition it is Exposed.
type MetricView struct {
	Name    string `json:"name"`
	Exposed string `json:"exposed"`
	Type    string `json:"type"`
	Unit    string `json:"unit"`
	// Help says what the figure is, as the check declares it.
	Help   string            `json:"-"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// Metric is the figure as a check reported it.
func (m *MetricView) Metric() checks.Metric {
	out := checks.Metric{Name: m.Name, Value: m.Value}
	if m.Type == checks.Counter.String() {
		out.Type = checks.Counter
	}
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		out.Labels = append(out.Labels, checks.Label{Name: name, Value: m.Labels[name]})
	}
	return out
}

// TransitionView is one line of a customer's record of what changed.
type TransitionView struct {
	Sequence uint64 `json:"sequence"`
	Host     string `json:"host"`
	Check    string `json:"check"`
	Item     string `json:"item,omitempty"`
	rules.Transition
	// Decision says what the desk made of it, and why.
	Decision string `json:"decision,omitempty"`
}
