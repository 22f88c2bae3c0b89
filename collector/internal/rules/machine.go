package rules

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Machine is what is remembered of one check state between results. Its zero value
// knows nothing yet. It is written by the methods of Program and by nothing else.
//
// At rest (JSON) it holds what must survive a restart: levels and what is pending,
// freshness, the newest tick judged, and the values that prev and rising compare
// with. Values are written down at once when they are 0 or 1 (whether a filesystem
// was writable) or when a rise or fall matters to rising, and otherwise at most every
// ten minutes: after a restart prev may be as much older than the run before.
// Values that only conditions of the moment read come with the next result.
type Machine struct {
	program *Program
	last    []float64 // the newest values, by the program's slots; NaN is missing
	states  []state   // of rules that are not plainly OK
	tracked []tracked // by the program's tracked columns

	received   int64 // when the newest result came; ms, as all times here
	planned    int64 // the newest tick judged
	freshUntil int64 // 0: not known since the restart, or for ever
	next       int64 // the state's time to live
	freshSince int64
	saved      int64 // when changed was last answered
	fresh      Level
	status     uint8
	seen       bool // has been judged
	gone       bool // the item vanished
	settled    bool // an equal result at a later time changes nothing
}

// state is what is remembered of one rule while it is not plainly OK.
type state struct {
	rule *Rule
	Name string `json:"rule"`
	// Level is what was told; Raw what the conditions say, which differs only while
	// the rule is flapping.
	Level Level `json:"level,omitempty"`
	Raw   Level `json:"raw,omitempty"`
	Since int64 `json:"since,omitempty"`
	// Warn and Crit say how long the conditions have held.
	Warn hold `json:"warn,omitzero"`
	Crit hold `json:"crit,omitzero"`
	// Clear is since when the level could end.
	Clear int64 `json:"clear,omitempty"`
	// Frozen is since when the rule can't be judged; the time until it can again counts
	// for nothing.
	Frozen int64 `json:"frozen,omitempty"`
	// Changes are the times of the newest changes of Raw, for flapping.
	Changes  []int64 `json:"changes,omitempty"`
	Flapping bool    `json:"flapping,omitempty"`
	Gone     bool    `json:"gone,omitempty"`
	Why      string  `json:"why,omitempty"`
}

// hold is since when and for how many runs a condition has held.
type hold struct {
	Since int64 `json:"since,omitempty"`
	Runs  int32 `json:"runs,omitempty"`
}

// tracked is a figure's value in the newest run that had it, and when it last rose.
type tracked struct {
	name  string
	slot  int
	value float64
	rose  int64
	by    float64
}

// trackedAtRest is a tracked value as JSON.
type trackedAtRest struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Rose  int64   `json:"rose,omitempty"`
	By    float64 `json:"by,omitempty"`
}

// machineAtRest is a machine as JSON.
type machineAtRest struct {
	Planned int64           `json:"planned,omitempty"`
	Next    int64           `json:"next,omitempty"`
	Fresh   Level           `json:"fresh,omitempty"`
	Since   int64           `json:"since,omitempty"`
	Saved   int64           `json:"saved,omitempty"`
	Gone    bool            `json:"gone,omitempty"`
	Rules   []state         `json:"rules,omitempty"`
	Tracked []trackedAtRest `json:"tracked,omitempty"`
}

// MarshalJSON writes the durable part.
func (m Machine) MarshalJSON() ([]byte, error) {
	out := machineAtRest{
		Planned: m.planned, Next: m.next, Fresh: m.fresh, Since: m.freshSince, Saved: m.saved, Gone: m.gone, Rules: m.states,
	}
	for _, t := range m.tracked {
		if !math.IsNaN(t.value) {
			out.Tracked = append(out.Tracked, trackedAtRest{t.name, t.value, t.rose, t.by})
		}
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding a machine: %w", err)
	}
	return data, nil
}

// UnmarshalJSON reads the durable part back.
func (m *Machine) UnmarshalJSON(data []byte) error {
	var in machineAtRest
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("decoding a machine: %w", err)
	}
	*m = Machine{
		planned: in.Planned, next: in.Next, fresh: in.Fresh, freshSince: in.Since, saved: in.Saved, gone: in.Gone,
		states: in.Rules, seen: in.Planned != 0,
	}
	for _, t := range in.Tracked {
		m.tracked = append(m.tracked, tracked{name: t.Name, value: t.Value, rose: t.Rose, by: t.By})
	}
	return nil
}

// Level is the worst that rules and freshness say, for pages. Critical stays critical
// when no result comes; a state that is stale or unknown is otherwise never better
// than that.
func (m *Machine) Level() Level {
	worst := m.fresh
	for i := range m.states {
		if l := m.states[i].Level; l.severity() > worst.severity() {
			worst = l
		}
	}
	return worst
}

// Fresh is OK, Unknown when the newest result could not judge, or Stale when it is
// too old.
func (m *Machine) Fresh() Level { return m.fresh }

// Gone says that the item has vanished and not come back.
func (m *Machine) Gone() bool { return m.gone }

// Flapping says whether a rule's level is held up because it goes to and fro.
func (m *Machine) Flapping() bool {
	for i := range m.states {
		if m.states[i].Flapping {
			return true
		}
	}
	return false
}

// Due is when Tick is next needed; zero is never. A machine that was just read back
// is due at once.
func (m *Machine) Due() time.Time {
	if m.program == nil && m.seen {
		return time.UnixMilli(1)
	}
	due := int64(math.MaxInt64)
	if m.freshUntil != 0 && m.fresh != Stale && !m.gone {
		due = m.freshUntil
	}
	for i := range m.states {
		due = min(due, m.states[i].due(m.window()))
	}
	if due == math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(due)
}

// resume starts the time to live anew after the machine was read back: while the
// collector was down nothing could come in, so nothing is late yet.
func (m *Machine) resume(now int64) {
	if m.seen && m.freshUntil == 0 && m.next != 0 && m.fresh != Stale {
		m.freshUntil = now + m.next + grace(m.next) + restartGrace.Milliseconds()
	}
}

// Limits of what makes a state late.
const (
	minGrace = 5 * time.Second
	maxGrace = 5 * time.Minute
	// restartGrace is what agents are given to find a collector that was away.
	restartGrace = 2 * time.Minute
)

// grace is how much longer than announced (ms) a result may take before it is
// missed: half as long again, within limits.
func grace(next int64) int64 {
	return min(max(next/2, minGrace.Milliseconds()), maxGrace.Milliseconds())
}

// Flapping, in the manner of Icinga: a rule whose level changes flapChanges times
// within the window is flapping, until it has not changed for a whole window. The
// window is half an hour, or ten runs of a check that comes less often, at most a day.
const (
	flapChanges   = 5
	minFlapWindow = 30 * time.Minute
	maxFlapWindow = 24 * time.Hour
	flapRuns      = 10
)

func (m *Machine) window() int64 {
	return min(max(flapRuns*m.next, minFlapWindow.Milliseconds()), maxFlapWindow.Milliseconds())
}
