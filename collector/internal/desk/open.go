package desk

import (
	"iter"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
)

// Open yields the open incidents, in no order. They are the desk's own: they may be
// read before the next event, and not changed.
func (d *Desk) Open() iter.Seq[*incident.Incident] {
	return func(yield func(*incident.Incident) bool) {
		for _, t := range d.tickets {
			if t.State == incident.Open && !yield(&t.Incident) {
				return
			}
		}
	}
}
