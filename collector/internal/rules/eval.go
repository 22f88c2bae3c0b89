package rules

import (
	"math"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// tri is the outcome of a condition. A comparison with a figure that is missing is
// maybe; and, or and not follow Kleene's logic, so that a missing figure neither
// raises a level nor ends one.
type tri uint8

const (
	no tri = iota
	yes
	maybe
)

func truth(b bool) tri {
	if b {
		return yes
	}
	return no
}

func (a tri) and(b tri) tri {
	switch {
	case a == no || b == no:
		return no
	case a == yes && b == yes:
		return yes
	}
	return maybe
}

func (a tri) or(b tri) tri { return a.not().and(b.not()).not() }

func (a tri) not() tri {
	if a == maybe {
		return maybe
	}
	return 1 - a
}

// op is what a node of a condition's tree does.
type op uint8

const (
	opConst op = iota
	opIf
	// Numbers.
	opMetric
	opPrev
	opPlus
	opMinus
	opTimes
	opDivide
	opModulo
	opPower
	opMin
	opMax
	opAbs
	opMinOf // of all values of a metric with labels
	opMaxOf
	opSumOf
	// Truth values.
	opAnd
	opOr
	opNot
	opLess
	opAtMost
	opMore
	opAtLeast
	opEqual
	opUnequal
	opStatus
	opRole
	opRising
)

// num is a node with a number. Trees are walked by plain recursion rather than
// compiled to closures: then the frame stays on the stack, and nothing is allocated.
type num struct {
	op   op
	k    float64
	args []*num
	cond *test
	// metric and key name what opMetric, opPrev and the …Of functions read; bound to
	// columns, slots says where: in frame.values, or in frame.tracked for opPrev.
	metric *checks.MetricSpec
	key    string
	slots  []int
	// text and unit are for showing the value.
	text, unit string
}

// test is a node with a truth value.
type test struct {
	op      op
	k       tri
	a, b    *num
	x, y, z *test
	// set holds the values of status or role for which the test holds, by bit; named
	// those that were written out.
	set, named uint8
	within     time.Duration // opRising, in milliseconds
	slots      []int         // opRising, in frame.tracked
}

// frame is what one evaluation sees.
type frame struct {
	values  []float64
	tracked []tracked
	now     int64 // ms
	status  checks.Status
	role    uint8 // index in roleWords; above them when it is neither
}

func (n *num) eval(f *frame) float64 {
	switch n.op {
	case opConst:
		return n.k
	case opMetric:
		if len(n.slots) == 0 {
			return math.NaN()
		}
		return f.values[n.slots[0]]
	case opPrev:
		if len(n.slots) == 0 {
			return math.NaN()
		}
		return f.tracked[n.slots[0]].value
	case opIf:
		return n.choose(f)
	case opMin, opMax:
		return n.extreme(f)
	case opAbs:
		return math.Abs(n.args[0].eval(f))
	case opMinOf, opMaxOf, opSumOf:
		return n.over(f)
	}
	return calculate(n.op, n.args[0].eval(f), n.args[1].eval(f))
}

func calculate(o op, a, b float64) float64 {
	switch o {
	case opPlus:
		return a + b
	case opMinus:
		return a - b
	case opTimes:
		return a * b
	case opDivide:
		return a / b
	case opModulo:
		return math.Mod(a, b)
	default:
		return math.Pow(a, b)
	}
}

func (n *num) choose(f *frame) float64 {
	switch n.cond.eval(f) {
	case yes:
		return n.args[0].eval(f)
	case no:
		return n.args[1].eval(f)
	}
	return math.NaN()
}

func (n *num) extreme(f *frame) float64 {
	v := n.args[0].eval(f)
	for _, a := range n.args[1:] {
		if n.op == opMin {
			v = math.Min(v, a.eval(f))
		} else {
			v = math.Max(v, a.eval(f))
		}
	}
	return v
}

// over folds the values of a metric with labels, leaving out those that are missing.
func (n *num) over(f *frame) float64 {
	out := math.NaN()
	for _, slot := range n.slots {
		v := f.values[slot]
		switch {
		case math.IsNaN(v):
		case math.IsNaN(out):
			out = v
		case n.op == opSumOf:
			out += v
		case n.op == opMinOf:
			out = min(out, v)
		default:
			out = max(out, v)
		}
	}
	return out
}

func (t *test) eval(f *frame) tri {
	switch t.op {
	case opConst:
		return t.k
	case opNot:
		return t.x.eval(f).not()
	case opAnd:
		if x := t.x.eval(f); x != no {
			return x.and(t.y.eval(f))
		}
		return no
	case opOr:
		if x := t.x.eval(f); x != yes {
			return x.or(t.y.eval(f))
		}
		return yes
	case opIf:
		return t.choose(f)
	case opStatus:
		return t.judgeStatus(f.status)
	case opRole:
		return truth(t.set&(1<<f.role) != 0)
	case opRising:
		return t.rising(f)
	}
	return compare(t.op, t.a.eval(f), t.b.eval(f))
}

func (t *test) choose(f *frame) tri {
	switch t.x.eval(f) {
	case yes:
		return t.y.eval(f)
	case no:
		return t.z.eval(f)
	}
	return maybe
}

// judgeStatus compares the status. A result that is unknown says nothing about the
// act: only a condition that names "unknown" itself can tell.
func (t *test) judgeStatus(s checks.Status) tri {
	if s == checks.Unknown && t.named&(1<<checks.Unknown) == 0 {
		return maybe
	}
	return truth(t.set&(1<<s) != 0)
}

// rising says whether any of the metric's values rose within the time. When none
// is there to compare, what has not risen is not known to stand still.
func (t *test) rising(f *frame) tri {
	missing := true
	for _, slot := range t.slots {
		tr := &f.tracked[slot]
		if tr.rose != 0 && f.now-tr.rose < int64(t.within) {
			return yes
		}
		missing = missing && math.IsNaN(f.values[tr.slot])
	}
	if missing {
		return maybe
	}
	return no
}

func compare(o op, a, b float64) tri {
	if math.IsNaN(a) || math.IsNaN(b) {
		return maybe
	}
	switch o {
	case opLess:
		return truth(a < b)
	case opAtMost:
		return truth(a <= b)
	case opMore:
		return truth(a > b)
	case opAtLeast:
		return truth(a >= b)
	case opEqual:
		return truth(a == b)
	default:
		return truth(a != b)
	}
}
