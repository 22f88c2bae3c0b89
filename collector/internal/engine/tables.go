package engine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// The tables that the engine writes. Watermarks are packed (see watermark), the
// others JSON.
var (
	watermarks       = store.Table{Name: "watermarks"}
	hostsTable       = store.Typed[inventory.Host]{Table: &inventory.Hosts}
	statesTable      = store.Typed[stateRow]{Table: &store.Table{Name: "states"}}
	transitionsTable = store.Typed[TransitionView]{Table: &store.Table{Name: "transitions"}}
	incidentsTable   = store.Typed[incident.Incident]{Table: &store.Table{Name: "incidents", Index: indexIncident}}
	problemsTable    = store.Typed[problem.Problem]{Table: &store.Table{Name: "problems"}}
	countersTable    = store.Typed[counters]{Table: &store.Table{Name: "counters"}}
)

// byState finds incidents by their stage of life: a desk keeps open and resolved
// ones at hand.
const byState = "state"

func indexIncident(_ string, value []byte) []store.IndexEntry {
	var v struct {
		State incident.State `json:"state"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil
	}
	return []store.IndexEntry{{Name: byState, Key: string(v.State)}}
}

// stateRow is the durable part of a check state.
type stateRow struct {
	Check      string         `json:"check"`
	Instance   string         `json:"instance,omitempty"`
	Item       string         `json:"item,omitempty"`
	Columns    []rules.Column `json:"columns,omitempty"`
	Machine    rules.Machine  `json:"machine"`
	Since      time.Time      `json:"since,omitzero"`
	Summary    string         `json:"summary,omitempty"`
	NextWithin time.Duration  `json:"next_within,omitempty"` // nanoseconds
}

// counters gives ticket numbers. They are one row for the whole collector, so that
// a number means one ticket whoever asks.
type counters struct {
	Incident uint64 `json:"incident"`
	Problem  uint64 `json:"problem"`
}

const countersKey = "numbers"

// NextIncident gives the next incident number.
func (c *counters) NextIncident() string {
	c.Incident++
	return ticket("INC", c.Incident)
}

// NextProblem gives the next problem number.
func (c *counters) NextProblem() string {
	c.Problem++
	return ticket("PRB", c.Problem)
}

// ticket pads numbers so that they sort as text up to a hundred million.
func ticket(kind string, n uint64) string { return fmt.Sprintf("%s-%08d", kind, n) }

// sequenceKey orders rows by number.
func sequenceKey(n uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, n))
}

// sequenceOf reads what sequenceKey wrote; false when it did not write it.
func sequenceOf(key string) (uint64, bool) {
	if len(key) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64([]byte(key)), true
}

func compareText(a, b string) int { return strings.Compare(a, b) }

func (e *Engine) putHost(g *group, h *host) error {
	g.customers[h.Customer] = struct{}{}
	return put(g, hostsTable, h.Customer, h.ID, h.Host)
}

func (e *Engine) putState(g *group, st *state) error {
	h := st.task.host
	g.customers[h.Customer] = struct{}{}
	return put(g, statesTable, h.Customer, st.key(), stateRow{
		Check: st.task.check, Instance: st.task.instance, Item: st.item, Columns: st.shape.columns,
		Machine: st.machine, Since: st.since, Summary: st.summary, NextWithin: st.nextWithin,
	})
}

func (e *Engine) putTransition(g *group, st *state, tr rules.Transition, decision string) error {
	h := st.task.host
	d := e.desks[h.Customer]
	d.transitions++
	return put(g, transitionsTable, h.Customer, sequenceKey(d.transitions), TransitionView{
		Sequence: d.transitions, Host: h.ID, Check: st.task.check, Item: st.item, Transition: tr, Decision: decision,
	})
}

// gapRow is a range of a host's runs that will never come. A host's newest are one
// row.
type gapRow struct {
	At     time.Time `json:"at"`
	Epoch  uint64    `json:"epoch"`
	From   uint64    `json:"from"`
	To     uint64    `json:"to"`
	Reason string    `json:"reason"`
}

var gapsTable = store.Typed[[]gapRow]{Table: &store.Table{Name: "gaps"}}
