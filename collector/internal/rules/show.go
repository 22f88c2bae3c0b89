package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// explain shows a condition with the values that it was judged by, such as
// "free_bytes < 0.05 * size_bytes with free_bytes = 1.2 GiB, size_bytes = 50 GiB,
// 0.05 * size_bytes = 2.5 GiB".
func (c *condition) explain(f *frame) string {
	values := c.show(f)
	if len(values) == 0 {
		return c.text
	}
	return c.text + " with " + strings.Join(values, ", ")
}

// show lists what the condition reads and computes, each once, "name = value".
func (c *condition) show(f *frame) []string {
	s := shower{frame: f, seen: make(map[string]struct{})}
	s.test(c.root)
	return append(s.values, s.computed...)
}

type shower struct {
	frame            *frame
	seen             map[string]struct{}
	values, computed []string
}

func (s *shower) add(to *[]string, name, value string) {
	if _, dup := s.seen[name]; dup {
		return
	}
	s.seen[name] = struct{}{}
	*to = append(*to, name+" = "+value)
}

func (s *shower) test(t *test) {
	if t == nil {
		return
	}
	switch t.op {
	case opStatus:
		s.add(&s.values, "status", s.frame.status.String())
	case opRole:
		if int(s.frame.role) < len(roleWords()) {
			s.add(&s.values, "role", roleWords()[s.frame.role])
		}
	case opRising:
		s.rising(t)
		return
	}
	s.side(t.a)
	s.side(t.b)
	s.test(t.x)
	s.test(t.y)
	s.test(t.z)
}

// side shows one side of a comparison: what it reads and, when it is computed, what
// came out.
func (s *shower) side(n *num) {
	if n == nil || n.op == opConst {
		return
	}
	s.num(n)
	if len(n.args) > 0 && !n.constant() {
		s.add(&s.computed, n.text, format(n.eval(s.frame), n.unit))
	}
}

func (s *shower) num(n *num) {
	switch n.op {
	case opMetric, opPrev, opMinOf, opMaxOf, opSumOf:
		s.add(&s.values, n.text, format(n.eval(s.frame), n.unit))
	}
	s.test(n.cond)
	for _, a := range n.args {
		s.num(a)
	}
}

func (n *num) constant() bool {
	for _, a := range n.args {
		if !a.constant() {
			return false
		}
	}
	return len(n.args) > 0 || n.op == opConst
}

func (s *shower) rising(t *test) {
	for _, slot := range t.slots {
		tr := &s.frame.tracked[slot]
		s.add(&s.values, tr.name, format(s.frame.values[tr.slot], t.a.metric.Unit))
		if tr.rose != 0 && s.frame.now-tr.rose < int64(t.within) {
			s.add(&s.values, "risen by", format(tr.by, t.a.metric.Unit)+" "+span(s.frame.now-tr.rose)+" ago")
		}
	}
}

// format writes a value with its unit as people read it.
func format(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return "missing"
	case math.IsInf(v, 0):
		return "infinite"
	}
	switch unit {
	case "bytes":
		return bytesText(v)
	case "ratio":
		return number(100*v) + " %"
	case "seconds":
		return seconds(v)
	case "celsius":
		return number(v) + " °C"
	case "", "boolean":
		return number(v)
	}
	return number(v) + " " + unit
}

func bytesText(v float64) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	if v >= 1<<63 {
		return sign + number(v) + " bytes"
	}
	return sign + humanize.IBytes(uint64(v))
}

// number writes four significant digits, and whole numbers as they are.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	if math.Abs(v) >= 1000 && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func seconds(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return number(v*1e6) + " µs"
	case a < 1:
		return number(v*1e3) + " ms"
	case a < 120 || a > 1e9:
		return number(v) + " s"
	}
	text := span(int64(math.Abs(v) * 1000))
	if v < 0 {
		return "-" + text
	}
	return text
}

// span writes a time in milliseconds by its two largest parts: 3 d 4 h, 12 min.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	parts := []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, p := range parts {
		if d < p.unit {
			continue
		}
		text := fmt.Sprintf("%d %s", d/p.unit, p.name)
		if rest := d % p.unit; i+1 < len(parts) && rest >= parts[i+1].unit {
			text += fmt.Sprintf(" %d %s", rest/parts[i+1].unit, parts[i+1].name)
		}
		return text
	}
	return fmt.Sprintf("%d ms", ms)
}
