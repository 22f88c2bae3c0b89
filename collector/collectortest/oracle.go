package collectortest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// Oracle knows what a fleet put in, and so what a collector must hold once all of it
// is acknowledged, whatever happened in between. Its Appended and Acked are the hooks
// of fleet.Options.
//
// It demands the most of agents in step, which never had more than one run that was
// not decided, as Flood(1) sends: every result was then judged live, in order and
// once, and number and occurrences of incidents follow exactly. Of a host that was
// ever ahead of its acknowledgements part may have come in the backlog, which opens
// no incidents; there Verify demands the newest states, all of history, and no more
// incidents than breaches.
type Oracle struct {
	// breaches says whether the rules find a result critical.
	breaches func(*checkpb.Result) bool

	mu    sync.Mutex
	hosts map[string]*hostIn
}

// hostIn is what one host put in.
type hostIn struct {
	epoch             uint64
	runs              int
	newest            uint64 // sequence
	decided, archived uint64
	ahead             bool
	states            map[StateID]*stateIn
}

// StateID is a check state of a host.
type StateID struct{ Check, Instance, Item string }

// stateIn is what went in of one state.
type stateIn struct {
	bad      bool
	breaches int
	changes  int
	newest   map[string]float64
	// samples are all values by metric and planned tick.
	samples map[string]map[int64]float64
}

// NewOracle makes an oracle that has seen nothing. A fleet's loads breach as
// fleet.Breaches says.
func NewOracle(breaches func(*checkpb.Result) bool) *Oracle {
	return &Oracle{breaches: breaches, hosts: map[string]*hostIn{}}
}

func (o *Oracle) host(id string) *hostIn {
	h := o.hosts[id]
	if h == nil {
		h = &hostIn{states: map[StateID]*stateIn{}}
		o.hosts[id] = h
	}
	return h
}

// Appended notes a run that goes in.
func (o *Oracle) Appended(a *fleet.Agent, id fleet.RunID, run *checkpb.Run) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.host(a.HostID())
	if h.epoch != id.Epoch {
		h.ahead = h.ahead || h.decided < h.newest
		h.epoch, h.newest, h.decided, h.archived = id.Epoch, 0, 0, 0
	}
	h.ahead = h.ahead || h.decided < h.newest
	h.newest = id.Sequence
	h.runs++
	for _, r := range run.GetResults() {
		o.result(h, StateID{run.GetCheck(), run.GetInstance(), r.GetItem()}, run.GetPlannedMs(), r)
	}
}

func (o *Oracle) result(h *hostIn, id StateID, at int64, r *checkpb.Result) {
	st := h.states[id]
	if st == nil {
		st = &stateIn{samples: map[string]map[int64]float64{}}
		h.states[id] = st
	}
	if bad := o.breaches(r); bad != st.bad {
		st.bad = bad
		st.changes++
		if bad {
			st.breaches++
		}
	}
	st.newest = map[string]float64{}
	for _, m := range r.GetMetrics() {
		st.newest[m.GetName()] = m.GetValue()
		if st.samples[m.GetName()] == nil {
			st.samples[m.GetName()] = map[int64]float64{}
		}
		st.samples[m.GetName()][at] = m.GetValue()
	}
}

// Acked notes what was acknowledged.
func (o *Oracle) Acked(ack fleet.Ack) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.host(ack.Agent.HostID())
	if ack.Epoch == h.epoch {
		h.decided, h.archived = max(h.decided, ack.Decided), max(h.archived, ack.Archived)
	}
}

// Totals are figures of what went in.
type Totals struct{ Hosts, Runs, States, Breaches, Samples int }

// Totals counts what went in so far.
func (o *Oracle) Totals() Totals {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := Totals{Hosts: len(o.hosts)}
	for _, h := range o.hosts {
		t.Runs += h.runs
		t.States += len(h.states)
		for _, st := range h.states {
			t.Breaches += st.breaches
			for _, s := range st.samples {
				t.Samples += len(s)
			}
		}
	}
	return t
}

// findings gathers what is wrong, and leaves out what would be too much to read.
type findings struct {
	errs []error
	more int
}

const maxFindings = 20

func (f *findings) add(format string, args ...any) {
	if len(f.errs) == maxFindings {
		f.more++
		return
	}
	f.errs = append(f.errs, fmt.Errorf(format, args...))
}

func (f *findings) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more", f.more))...)
	}
	return errors.Join(f.errs...)
}
