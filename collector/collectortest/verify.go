package collectortest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// flapChanges is how many changes of a state make the rules hold its level up; how
// often its incident opens is not foretold from there on.
const flapChanges = 5

// Verify says what the collector lacks of what went in, or has more than went in.
// Every run must have been acknowledged as decided; history is asked for all of it, so
// wait for fleet.WaitArchived too.
func (o *Oracle) Verify(ctx context.Context, c Client) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	token, err := c.APIToken(ctx, "admin")
	if err != nil {
		return fmt.Errorf("asking for an API token: %w", err)
	}
	incidents, err := c.Incidents(ctx)
	if err != nil {
		return err
	}
	byState := map[string]map[StateID][]Incident{}
	for i := range incidents {
		in := &incidents[i]
		if byState[in.Host] == nil {
			byState[in.Host] = map[StateID][]Incident{}
		}
		id := StateID{in.Check, in.Instance, in.Item}
		byState[in.Host][id] = append(byState[in.Host][id], *in)
	}
	var f findings
	for id, h := range o.hosts {
		shown, err := c.Host(ctx, id)
		if err != nil {
			return err
		}
		if h.decided < h.newest {
			f.add("host %s: run %d was not acknowledged, %d was the last", shown.Name, h.newest, h.decided)
		}
		h.verifyStates(&f, &shown)
		h.verifyIncidents(&f, shown.Name, byState[id])
		if err := h.verifyHistory(ctx, &f, c, token, &shown); err != nil {
			return err
		}
	}
	return f.err()
}

func (h *hostIn) verifyStates(f *findings, shown *Host) {
	held := map[StateID]bool{}
	for i := range shown.Checks {
		v := &shown.Checks[i]
		id := StateID{v.Check, v.Instance, v.Item}
		held[id] = true
		st := h.states[id]
		if st == nil {
			f.add("host %s: state %v never went in", shown.Name, id)
			continue
		}
		if (v.Level == rules.Critical) != st.bad && st.changes < flapChanges {
			f.add("host %s: state %v is %v; its newest result is critical: %v", shown.Name, id, v.Level, st.bad)
		}
		for _, m := range v.Metrics {
			if want, known := st.newest[m.Name]; !known || want != m.Value {
				f.add("host %s: state %v: %s is %v, not %v", shown.Name, id, m.Name, m.Value, want)
			}
		}
	}
	for id := range h.states {
		if !held[id] {
			f.add("host %s: state %v is not there", shown.Name, id)
		}
	}
}

func (h *hostIn) verifyIncidents(f *findings, name string, held map[StateID][]Incident) {
	for id, ins := range held {
		if h.states[id] == nil || h.states[id].breaches == 0 {
			f.add("host %s: incident %s about %v, which never breached", name, ins[0].Number, id)
		}
	}
	for id, st := range h.states {
		ins := held[id]
		if st.breaches == 0 {
			continue
		}
		if len(ins) > 1 {
			f.add("host %s: %d incidents about %v, %s and %s among them", name, len(ins), id, ins[0].Number, ins[1].Number)
			continue
		}
		if len(ins) == 0 {
			if !h.ahead {
				f.add("host %s: no incident about %v, which breached %d times", name, id, st.breaches)
			}
			continue
		}
		h.verifyIncident(f, name, id, st, &ins[0])
	}
}

func (h *hostIn) verifyIncident(f *findings, name string, id StateID, st *stateIn, in *Incident) {
	if st.changes >= flapChanges {
		return
	}
	want := incident.Resolved
	if st.bad {
		want = incident.Open
	}
	if in.State != want {
		f.add("host %s: incident %s about %v is %s, not %s", name, in.Number, id, in.State, want)
	}
	if in.Occurrences > st.breaches || (!h.ahead && in.Occurrences != st.breaches) {
		f.add("host %s: incident %s about %v occurred %d times, its state breached %d times", name, in.Number, id, in.Occurrences, st.breaches)
	}
}

// verifyHistory holds every sample of a host against what went in. The host's clock
// must be the collector's: ticks are then kept as they were planned.
func (h *hostIn) verifyHistory(ctx context.Context, f *findings, c Client, token string, shown *Host) error {
	first, last := int64(math.MaxInt64), int64(0)
	missing := map[string]map[string]map[int64]float64{} // metric, check and item, tick
	for id, st := range h.states {
		for metric, samples := range st.samples {
			name := history.MetricName(id.Check, metric)
			if missing[name] == nil {
				missing[name] = map[string]map[int64]float64{}
			}
			left := map[int64]float64{}
			for at, v := range samples {
				left[at] = v
				first, last = min(first, at), max(last, at)
			}
			missing[name][checkLabel(id)+"\x00"+id.Item] = left
		}
	}
	span := time.Duration(last-first+60_000) * time.Millisecond
	for name, series := range missing {
		expr := fmt.Sprintf("%s{customer=%q,host=%q}[%ds]", name, shown.Customer, shown.Name, int(span.Seconds())+1)
		held, err := c.Query(ctx, token, expr, time.UnixMilli(last))
		if err != nil {
			return err
		}
		for _, s := range held {
			compare(f, shown.Name, name, s, series[s.Labels["check"]+"\x00"+s.Labels["item"]])
		}
		for key, left := range series {
			if len(left) > 0 {
				f.add("host %s: history lacks %d samples of %s %q", shown.Name, len(left), name, key)
			}
		}
	}
	return nil
}

func checkLabel(id StateID) string {
	if id.Instance == "" {
		return id.Check
	}
	return id.Check + "/" + id.Instance
}

// compare takes what a series holds off what it should.
func compare(f *findings, host, name string, s Series, left map[int64]float64) {
	for _, p := range s.Samples {
		want, known := left[p.AtMillis]
		switch {
		case !known:
			f.add("host %s: history has %s%v at %d, which never went in", host, name, s.Labels, p.AtMillis)
		case want != p.Value:
			f.add("host %s: history has %s%v = %v at %d, not %v", host, name, s.Labels, p.Value, p.AtMillis, want)
		}
		delete(left, p.AtMillis)
	}
}

// VerifyTold holds what a webhook was told against the incidents: each opening,
// reopening and resolution of a host in step was told, under one key, and at most
// extra notices came twice. Wait for all of them first, with WaitTold.
func (o *Oracle) VerifyTold(told []Told, extra int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var f findings
	keys, events := map[string]string{}, map[string]int{}
	for i := range told {
		t := &told[i]
		if t.Problem != nil {
			continue
		}
		what := fmt.Sprintf("%s of %s, revision %d", t.Event, t.Incident.Number, t.Incident.Revision)
		if before, again := keys[t.Key]; again {
			extra--
			if before != what {
				f.add("one key for %s and for %s", before, what)
			}
			continue
		}
		keys[t.Key] = what
		events[t.Event]++
	}
	if extra < 0 {
		f.add("%d notices too many came twice", -extra)
	}
	want, exact := o.notices()
	for event, n := range want {
		if events[event] > n || (exact && events[event] < n) {
			f.add("%d notices of incidents %s, not %d", events[event], event, n)
		}
	}
	return f.err()
}

// notices counts what has to be told, and says whether that is exact.
func (o *Oracle) notices() (want map[string]int, exact bool) {
	want, exact = map[string]int{incident.Opened: 0, incident.Reopened: 0, incident.WasResolved: 0}, true
	for _, h := range o.hosts {
		exact = exact && !h.ahead
		for _, st := range h.states {
			exact = exact && st.changes < flapChanges
			if st.breaches > 0 {
				want[incident.Opened]++
				want[incident.Reopened] += st.breaches - 1
				want[incident.WasResolved] += st.changes - st.breaches
			}
		}
	}
	return want, exact
}

// WaitTold returns once as many different notices have arrived as have to.
func (o *Oracle) WaitTold(ctx context.Context, r *Receiver) error {
	o.mu.Lock()
	want, _ := o.notices()
	o.mu.Unlock()
	total := 0
	for _, n := range want {
		total += n
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		keys := map[string]bool{}
		for _, t := range r.Told() {
			if t.Problem == nil {
				keys[t.Key] = true
			}
		}
		if len(keys) >= total {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d notices, of which %d came: %w", total, len(keys), ctx.Err())
		}
	}
}
