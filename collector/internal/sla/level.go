// Package sla is the service level: what was agreed with a customer about how soon
// somebody responds and how soon it is solved. A level is data (see default.yaml);
// everything here is a pure function of it, of a clock and of a time.
//
// A clock is a ledger of intervals. Deadlines are not kept and adjusted but
// computed from the whole ledger each time, so that a pause, a new priority or a
// reopened ticket neither loses time nor invents any.
package sla

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // service hours are local times, also on machines without a zone database
)

//go:embed default.yaml
var defaultYAML []byte

// Level is a service level, as Parse read it. It does not change afterwards, so that
// several goroutines may use it.
type Level struct {
	name       string
	priorities []Priority
	matrix     []row
	urgencies  []string
	otherwise  string
	service    hours
	always     hours
	around     map[string]bool
}

// row is one line of the matrix: the priorities for one impact, by urgency.
type row struct {
	impact     string
	priorities []string
}

// Priority is one class of tickets and the times agreed for it.
type Priority struct {
	Name string `json:"name"`
	// When describes to people what belongs in it.
	When    string `json:"when,omitempty"`
	Respond Target `json:"respond"`
	Resolve Target `json:"resolve"`
	// AroundTheClock says that its clock runs outside service hours too.
	AroundTheClock bool `json:"around_the_clock,omitempty"`
}

// Default returns the service level of a customer that agreed to nothing else.
func Default() *Level {
	l, err := Parse("default.yaml", defaultYAML)
	if err != nil {
		panic(err) // it is embedded, and a test parses it
	}
	return l
}

// DefaultFile returns the default service level as written, to start another from.
func DefaultFile() []byte { return slices.Clone(defaultYAML) }

// Name returns the level's name.
func (l *Level) Name() string { return l.name }

// Zone returns the name of the time zone of the service hours, as in the IANA
// database.
func (l *Level) Zone() string { return l.service.loc.String() }

// Location returns the time zone of the service hours, to show times in.
func (l *Level) Location() *time.Location { return l.service.loc }

// Priorities returns the priorities, the most pressing first.
func (l *Level) Priorities() []Priority { return slices.Clone(l.priorities) }

// Impacts returns the impacts that the matrix knows, as its file orders them.
func (l *Level) Impacts() []string {
	names := make([]string, len(l.matrix))
	for i := range l.matrix {
		names[i] = l.matrix[i].impact
	}
	return names
}

// Urgencies returns the urgencies that the matrix knows, as its file orders them.
func (l *Level) Urgencies() []string { return slices.Clone(l.urgencies) }

// Priority returns the priority for an impact and an urgency. When the matrix does
// not know one of them, the error names those that it knows, and the priority is the
// one that the level gives to such tickets: a wrong word must not hide an outage.
func (l *Level) Priority(impact, urgency string) (string, error) {
	i := slices.IndexFunc(l.matrix, func(r row) bool { return r.impact == impact })
	if i < 0 {
		return l.otherwise, fmt.Errorf("impact %q is not one of %s", impact, strings.Join(l.Impacts(), ", "))
	}
	j := slices.Index(l.urgencies, urgency)
	if j < 0 {
		return l.otherwise, fmt.Errorf("urgency %q is not one of %s", urgency, strings.Join(l.urgencies, ", "))
	}
	return l.matrix[i].priorities[j], nil
}

// target returns what was agreed for a priority; nothing for one that the level does
// not know (a ticket may be older than the level).
func (l *Level) target(priority string, goal Goal) Target {
	for i := range l.priorities {
		if p := &l.priorities[i]; p.Name == priority {
			if goal == Respond {
				return p.Respond
			}
			return p.Resolve
		}
	}
	return Target{}
}

// hours returns the hours in which a priority's clock counts.
func (l *Level) hours(priority string) *hours {
	if l.around[priority] {
		return &l.always
	}
	return &l.service
}
