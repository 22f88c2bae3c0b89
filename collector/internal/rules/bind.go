package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// binder places the metrics that conditions read: each column that is used gets a
// slot in the machine's values, and each that prev or rising asks about one in its
// tracked values. Metrics without a column stay unplaced and read as missing.
type binder struct {
	columns []Column
	used    []int // columns, by slot
	tracked []trackedColumn
}

// trackedColumn is a figure of which more than the newest value is kept.
type trackedColumn struct {
	slot int
	name string // as in machines at rest: metric, or metric[label values]
	// prev and rising say who asks; within is the longest time that rising looks back.
	prev, rising bool
	within       time.Duration // milliseconds, as in test
	// sudden marks figures that are 0 or 1: a change is written down at once.
	sudden bool
}

func labelValues(labels []checks.Label) string {
	values := make([]string, len(labels))
	for i, l := range labels {
		values[i] = l.Value
	}
	return strings.Join(values, ",")
}

// slotsOf places the columns of a metric: all of them, or those with the key.
func (b *binder) slotsOf(m *checks.MetricSpec, key string, all bool) []int {
	var slots []int
	for i := range b.columns {
		c := &b.columns[i]
		if c.Name != m.Name || !all && labelValues(c.Labels) != key {
			continue
		}
		at := slices.Index(b.used, i)
		if at < 0 {
			at = len(b.used)
			b.used = append(b.used, i)
		}
		slots = append(slots, at)
	}
	return slots
}

// track places slots among the tracked values.
func (b *binder) track(m *checks.MetricSpec, slots []int) []int {
	out := make([]int, len(slots))
	for i, slot := range slots {
		at := slices.IndexFunc(b.tracked, func(t trackedColumn) bool { return t.slot == slot })
		if at < 0 {
			at = len(b.tracked)
			name := m.Name
			if labels := b.columns[b.used[slot]].Labels; len(labels) > 0 {
				name += "[" + labelValues(labels) + "]"
			}
			b.tracked = append(b.tracked, trackedColumn{slot: slot, name: name, sudden: m.Unit == "boolean"})
		}
		out[i] = at
	}
	return out
}

// condition returns the tree with its places filled in; nil stays nil.
func (b *binder) condition(c *condition) *condition {
	if c == nil {
		return nil
	}
	return &condition{text: c.text, root: b.test(c.root)}
}

func (b *binder) test(t *test) *test {
	if t == nil {
		return nil
	}
	out := *t
	out.a, out.b = b.num(t.a), b.num(t.b)
	out.x, out.y, out.z = b.test(t.x), b.test(t.y), b.test(t.z)
	if t.op == opRising {
		out.slots = b.track(t.a.metric, b.slotsOf(t.a.metric, "", true))
		for _, at := range out.slots {
			b.tracked[at].rising = true
			b.tracked[at].within = max(b.tracked[at].within, t.within)
		}
	}
	return &out
}

func (b *binder) num(n *num) *num {
	if n == nil {
		return nil
	}
	out := *n
	out.cond = b.test(n.cond)
	out.args = make([]*num, len(n.args))
	for i, a := range n.args {
		out.args[i] = b.num(a)
	}
	switch n.op {
	case opMetric:
		out.slots = b.slotsOf(n.metric, n.key, false)
	case opMinOf, opMaxOf, opSumOf:
		out.slots = b.slotsOf(n.metric, "", true)
	case opPrev:
		out.slots = b.track(n.metric, b.slotsOf(n.metric, n.key, false))
		for _, at := range out.slots {
			b.tracked[at].prev = true
		}
	}
	return &out
}
