package desk

import (
	"cmp"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Event is something that the desk deals with: one of the types below.
type Event interface {
	handle(*turn) error
}

// CheckTransition is a change of what a rule says of a check state. The Subject's
// HostID (or Host, where there is none) is the host's id.
type CheckTransition struct {
	Subject    rules.Subject
	HostName   string
	Transition rules.Transition
	// Title is rendered; the rest is as the rule has it.
	Title                     string
	Category, Impact, Urgency string
	Opens, Makes              string
	Summary, Evidence         string
}

// HostSilent says that a host has not been heard of for longer than it may. It may be
// said again.
type HostSilent struct {
	Host, HostName, Site string
	// Role is server or workstation: a workstation may sleep.
	Role  string
	Since time.Time
	// Announced is why it said that it would go, or empty.
	Announced string
}

// HostBack says that a host is heard of. It may be said of one that never was silent.
type HostBack struct{ Host string }

// HostRevoked says that a host is not watched any more: revoked, replaced, retired.
type HostRevoked struct{ Host, HostName, By string }

// ForecastRaised says that a rule over history sees a limit coming. It may be said at
// each evaluation.
type ForecastRaised struct {
	Subject                   rules.Subject
	HostName                  string
	Rule, Title               string
	Category, Impact, Urgency string
	ReachedAt                 time.Time
	// Confidence is how well the trend fits, R² from 0 to 1.
	Confidence float64
	Why        string
}

// ForecastCleared says that it does not see it any more. Vanished says that there is
// nothing left to forecast.
type ForecastCleared struct {
	Subject  rules.Subject
	Rule     string
	Vanished bool
	Why      string
}

// Report is an interruption, question or request that a person reports.
type Report struct {
	Title, Description   string
	Customer, Site       string
	Host, HostName       string
	Service, Reporter    string
	Impact, Urgency      string
	Kind, Category, Team string // incident, other and the desk's own team by default
}

// Action is what a person does to an incident.
type Action string

// The actions. Each may be repeated without doing anything twice.
const (
	Take    Action = "take"
	Comment Action = "comment"
	Resolve Action = "resolve"
	Close   Action = "close"
	Reopen  Action = "reopen"
)

// Act is a person's action. At is when it was done, if that was earlier than now.
type Act struct {
	Number string
	By     string
	Action Action
	Text   string
	At     time.Time
}

// Effects is what an event changed, in whole copies, and what is to be told of it. An
// Act's incident is among Incidents also when nothing of it changed.
type Effects struct {
	Incidents []incident.Incident
	Problems  []problem.Problem
	Notices   []Notice
	Why       []Why
}

// Notice is something to tell people. Two notices with the same Key are the same one.
type Notice struct {
	Key   string    `json:"key"`
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	// Incident is what it tells of, unless there is a Problem.
	Incident incident.Incident `json:"incident,omitzero"`
	Problem  *problem.Problem  `json:"problem,omitempty"`
	// Lines are what to say: first the title, then the reason, then the deadlines.
	Lines []string `json:"lines"`
}

// About names what a notice tells of.
type About struct {
	Customer, Number, Priority string
	Revision                   int
}

// About says what the notice tells of.
func (n *Notice) About() About {
	if p := n.Problem; p != nil {
		return About{p.Customer, p.Number, p.Priority, p.Revision}
	}
	in := &n.Incident
	return About{in.Customer, in.Number, in.Priority, in.Revision}
}

// Why says why an event did or did not become an incident.
type Why struct {
	At       time.Time `json:"at"`
	Host     string    `json:"host,omitempty"`
	Check    string    `json:"check,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Item     string    `json:"item,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	// Decision is opened, reopened, updated, resolved, ignored, hidden …; Number the
	// incident or problem that it is about, if any.
	Decision string `json:"decision"`
	Number   string `json:"number,omitempty"`
	Text     string `json:"text"`
}

// Decisions, besides the events of a timeline.
const (
	Updated = "updated"
	Ignored = "ignored"
	Hidden  = "hidden"
)

// Key says what an incident or problem that a rule made is about. A host's silence has
// the host and RuleSilent alone.
type Key struct {
	Host, Check, Instance, Item, Rule string
}

// RuleSilent is the desk's own rule, that servers are heard of.
const RuleSilent = "silent"

func keyOf(s *rules.Subject, rule string) Key {
	return Key{Host: cmp.Or(s.HostID, s.Host), Check: s.Check, Instance: s.Instance, Item: s.Item, Rule: rule}
}

// KeyOf returns what an incident is about; of a person's report it is the zero Key.
func KeyOf(in *incident.Incident) Key {
	if in.Rule == "" {
		return Key{}
	}
	return Key{Host: in.Host, Check: in.Check, Instance: in.Instance, Item: in.Item, Rule: in.Rule}
}

func problemKey(p *problem.Problem) Key {
	return Key{Host: p.Host, Check: p.Check, Instance: p.Instance, Item: p.Item, Rule: p.Rule}
}

// state is the key of the check state, without the rule.
func (k Key) state() Key {
	k.Rule = ""
	return k
}
