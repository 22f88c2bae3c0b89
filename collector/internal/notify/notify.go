// Package notify tells people and other systems what happened to incidents and problems.
//
// The engine asks Router which channels hear of a notice and commits the deliveries
// in the outbox together with the incident or problem. After the commit it wakes the Sender,
// which sends each delivery at least once: it deletes the row after the channel took
// the delivery, so a fault in between sends it once more, with the same key.
//
// A kind of channel is a folder here and a line in kinds.go.
package notify

import (
	"slices"
	"time"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// What the engine commits; package notice says more.
type (
	// Notice is something that happened to an incident or a problem.
	Notice = notice.Notice
	// Delivery is a notice on its way to one channel.
	Delivery = notice.Delivery
)

// Router says who hears of what. It is pure: the same notice at the same time gives
// the same deliveries.
type Router struct {
	channels []Common
}

// NewRouter makes the router of a valid configuration.
func NewRouter(c Config) *Router {
	r := &Router{}
	for _, ch := range c {
		r.channels = append(r.channels, ch.Common)
	}
	return r
}

// Route returns a pending delivery for each channel that hears of the notice.
func (r *Router) Route(now time.Time, n Notice) []Delivery {
	var out []Delivery
	for _, c := range r.channels {
		if c.hears(n) {
			out = append(out, notice.New(now, n, c.Name))
		}
	}
	return out
}

func (c Common) hears(n Notice) bool {
	about := n.About()
	return holds(c.Events, n.Event) && holds(c.Customers, about.Customer) && c.cares(about.Priority, n.Problem != nil)
}

// cares says whether the channel wants to hear of incidents, or problems, of a priority.
func (c Common) cares(priority string, problem bool) bool {
	switch {
	case !problem || c.Problems == ProblemsByPriority:
		return holds(c.Priorities, priority)
	case c.Problems == "":
		return len(c.Priorities) == 0
	}
	return c.Problems == ProblemsAll
}

// holds says whether a list has a word; an empty list has all.
func holds(list []string, word string) bool {
	return len(list) == 0 || slices.Contains(list, word)
}
