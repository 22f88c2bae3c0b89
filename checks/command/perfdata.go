package command

import (
	"fmt"
	"iter"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// Perf is one figure of a program's performance data
// (https://www.monitoring-plugins.org/doc/guidelines.html, "Performance data"), in
// base units.
type Perf struct {
	Label string
	// Unit is s, B, %, c, or as the program wrote it. The numbers are in seconds,
	// bytes, or parts of one.
	Unit  string
	Value float64
	// Warn and Crit are nil where the program gives none, or none that can be read.
	Warn, Crit *Range
	// Min and Max are NaN where the program gives none.
	Min, Max float64
}

// parsePerf reads performance data: 'label'=value[UOM];[warn];[crit];[min];[max],
// separated by blanks. What is not of that form is skipped, and so is a value of U,
// which the program could not determine.
func parsePerf(text string) []Perf {
	var out []Perf
	for label, rest := range perfItems(text) {
		if p, err := parseItem(label, rest); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// perfItems gives each label with what follows its equals sign.
func perfItems(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for text = strings.TrimLeft(text, blanks); text != ""; text = strings.TrimLeft(text, blanks) {
			label, rest, ok := cutLabel(text)
			if !ok {
				_, text = cutBlank(text)
				continue
			}
			var item string
			item, text = cutBlank(rest)
			if !yield(label, item) {
				return
			}
		}
	}
}

const blanks = " \t\r\n"

func cutBlank(text string) (before, after string) {
	i := strings.IndexAny(text, blanks)
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i+1:]
}

// cutLabel cuts a label and its equals sign off. In quotes a quote is doubled.
func cutLabel(text string) (label, rest string, ok bool) {
	if text[0] != '\'' {
		// Nothing is looked for beyond the blank, or a text of many words takes for ever.
		end := strings.IndexAny(text, blanks+"=")
		if end <= 0 || text[end] != '=' {
			return "", "", false
		}
		return text[:end], text[end+1:], true
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		rest, ok = strings.CutPrefix(text[i+1:], "=")
		return b.String(), rest, ok && b.Len() > 0
	}
	return "", "", false
}

// numberRE is a decimal number with its unit behind it, which has no digits: 0,5 is no
// number here, whatever the language.
var numberRE = regexp.MustCompile(`^([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)([^0-9.,;]*)$`)

// number reads a decimal number and nothing else.
func number(text string) (float64, error) {
	if m := numberRE.FindStringSubmatch(text); len(m) == 3 && m[2] == "" {
		return finite(m[1])
	}
	return 0, fmt.Errorf("%q is not a number", text)
}

func finite(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number that can be kept", text)
	}
	return v, nil
}

// parseItem reads what follows the label.
func parseItem(label, text string) (Perf, error) {
	fields := strings.Split(text, ";")
	m := numberRE.FindStringSubmatch(fields[0])
	if m == nil {
		return Perf{}, fmt.Errorf("%q does not begin with a number", fields[0])
	}
	value, err := finite(m[1])
	if err != nil {
		return Perf{}, err
	}
	unit, by := baseUnit(m[2])
	p := Perf{Label: label, Unit: unit, Value: by.base(value)}
	if math.IsInf(p.Value, 0) {
		return Perf{}, fmt.Errorf("%q is too large", fields[0])
	}
	field := func(i int) string {
		if i >= len(fields) {
			return ""
		}
		return strings.TrimSuffix(fields[i], m[2]) // some programs repeat the unit
	}
	p.Warn, p.Crit = bounds(field(1), by), bounds(field(2), by)
	p.Min, p.Max = bound(field(3), by), bound(field(4), by)
	return p, nil
}

func bounds(text string, by scale) *Range {
	r, err := ParseRange(text)
	if err != nil {
		return nil
	}
	r.Start, r.End = by.base(r.Start), by.base(r.End)
	return &r
}

func bound(text string, by scale) float64 {
	v, err := number(text)
	if err != nil {
		return math.NaN()
	}
	return by.base(v)
}

var bytesRE = regexp.MustCompile(`^([kKmMgGtTpP])i?[bB]$`)

// scale is what figures in a unit are multiplied with and divided by in base units:
// 5 us are 5/1e6 s, which 5*1e-6 is not quite.
type scale struct{ times, per float64 }

func (s scale) base(v float64) float64 { return v * s.times / s.per }

// baseUnit returns the unit that a unit's figures are kept in, and how to get there:
// the guidelines' units, and what programs write besides. A kilobyte has 1024 bytes
// to check_disk and check_swap.
func baseUnit(unit string) (base string, by scale) {
	switch unit {
	case "%":
		return unit, scale{1, 100}
	case "c", "s":
		return unit, scale{1, 1}
	case "ms":
		return "s", scale{1, 1e3}
	case "us", "µs":
		return "s", scale{1, 1e6}
	case "ns":
		return "s", scale{1, 1e9}
	case "B", "b":
		return "B", scale{1, 1}
	}
	if m := bytesRE.FindStringSubmatch(unit); m != nil {
		power := 1 + strings.Index("kmgtp", strings.ToLower(m[1]))
		return "B", scale{float64(uint64(1) << (10 * power)), 1}
	}
	return unit, scale{1, 1}
}

// metrics are the figure as the check declares it: its value, then its bounds.
func (p *Perf) metrics() (value checks.Metric, bounds []checks.Metric) {
	name, kind := "value", checks.Gauge
	switch p.Unit {
	case "s":
		name = "value_seconds"
	case "B":
		name = "value_bytes"
	case "%":
		name = "value_ratio"
	case "c":
		name, kind = "value_total", checks.Counter
	}
	labels := []checks.Label{{Name: "perfdata", Value: p.Label}}
	value = checks.Metric{Name: name, Type: kind, Labels: labels, Value: p.Value}
	add := func(name string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			bounds = append(bounds, checks.Metric{Name: name, Labels: labels, Value: v})
		}
	}
	for _, r := range []struct {
		level string
		*Range
	}{{"warning", p.Warn}, {"critical", p.Crit}} {
		if r.Range == nil || r.Inside { // an alert inside has no single bound
			continue
		}
		if r.StartGiven {
			add(r.level+"_below", r.Start)
		}
		add(r.level+"_above", r.End)
	}
	add("minimum", p.Min)
	add("maximum", p.Max)
	return value, bounds
}
