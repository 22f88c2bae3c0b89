package engine

import (
	"bytes"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Limits of what one host may make the collector remember. What goes beyond is
// refused, named in a finding of the host, and leaves other hosts alone.
const (
	MaxStates   = 20000 // check states a host
	MaxTasks    = 1000  // tasks a host
	maxFindings = 20    // findings kept a host
	// MaxNewSeries bounds the series that a host may begin in history in a day, beyond
	// those of the states that it has.
	MaxNewSeries = 50000
)

// host is a machine as the engine works with it; guarded by Engine.mu.
type host struct {
	inventory.Host
	mark     watermark
	tasks    map[taskKey]*task
	states   int
	session  *Session
	skew     time.Duration
	silent   bool
	findings []Finding
	refused  []RefusedTask
	gaps     []gapRow
	// due is the earliest time at which one of the states may need a tick; the sweep
	// passes the host by until then.
	due time.Time
	// reusedAt is when a copy of the host's state folder was last noticed.
	reusedAt time.Time
	// newSeries counts the series that the host began since seriesFrom.
	newSeries  int
	seriesFrom time.Time
	foreign    hostForeign
}

type taskKey struct{ check, instance string }

// task is one check of a host, or a named instance of it, with its items.
type task struct {
	host *host
	taskKey
	// spec is the check's declaration, nil where the collector does not know it; foreign
	// says where that came from an agent.
	spec    *checks.Spec
	foreign *foreign
	states  map[string]*state
	// round counts complete runs: a state that was not touched in the newest one
	// has vanished.
	round uint32
}

// state is one check state: what the newest result was, and what the rules say.
type state struct {
	task    *task
	item    string
	shape   *shape
	machine rules.Machine
	// forgotten says that the state left its task: a session that still knows it has
	// to look the item up again.
	forgotten bool
	// unjudged says that there was nothing to judge the newest result by.
	unjudged bool

	round      uint32
	status     checks.Status
	since      time.Time
	level      rules.Level
	lastSeen   time.Time
	nextWithin time.Duration
	summary    string
	evidence   string
	values     []float64
}

// shape is the metrics of a state in the order in which a stream sends them, with
// what follows from them. A stream's results keep the shape that they were defined
// with, whatever others the state had since.
type shape struct {
	columns []rules.Column
	// program is nil where the collector does not know the check. A new policy or a
	// declaration renews it; Engine.mu guards it.
	program *rules.Program
	// series are the handles in history; only the archiver looks inside.
	series *seriesSet
}

func (st *state) key() string {
	t := st.task
	return stateKey(t.host.ID, t.check, t.instance, st.item)
}

// stateKey orders states by host. Names are separated by NUL, which none holds.
func stateKey(host, check, instance, item string) string {
	return host + "\x00" + check + "\x00" + instance + "\x00" + item
}

// task returns a task of the host, or one that becomes the host's with its first
// state: a name alone costs nothing that lasts.
func (h *host) task(key taskKey) *task {
	if t := h.tasks[key]; t != nil {
		return t
	}
	return &task{host: h, taskKey: key, states: make(map[string]*state)}
}

func (h *host) subject(t *task, item string) rules.Subject {
	return rules.Subject{
		Customer: h.Customer, Site: h.Site, Host: h.Name, HostID: h.ID, Role: string(h.Role), Labels: h.Labels,
		Check: t.check, Instance: t.instance, Item: item,
	}
}

// finding notes something about the agent; the same text is counted, not repeated.
func (h *host) finding(now time.Time, text string) {
	for i := range h.findings {
		if h.findings[i].Text == text {
			h.findings[i].Count++
			h.findings[i].At = now
			return
		}
	}
	if len(h.findings) == maxFindings {
		h.findings = h.findings[1:]
	}
	h.findings = append(h.findings, Finding{At: now, Count: 1, Text: text})
}

// sameMachine compares fingerprints one by one: a replaced part changes some of
// them, while a golden image keeps its machine-id on hardware that is all new. Half
// of them must agree; without any on one side there is nothing to compare.
func sameMachine(known, shown [][]byte) bool {
	if len(known) == 0 || len(shown) == 0 {
		return true
	}
	same := 0
	for _, k := range known {
		if slices.ContainsFunc(shown, func(s []byte) bool { return bytes.Equal(k, s) }) {
			same++
		}
	}
	return 2*same >= min(len(known), len(shown))
}
