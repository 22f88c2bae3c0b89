package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/engine"
)

// funcs are what templates of a language can call.
func (l *language) funcs(a *assets) template.FuncMap {
	return template.FuncMap{
		"t": l.text, "n": l.count, "word": l.word, "asset": a.address,
		"ago": l.ago, "exact": l.exact, "iso": iso, "day": l.day, "left": l.left,
		"value": l.value, "label": metricLabel, "duration": l.duration,
		"lower": strings.ToLower, "signed": l.signed,
		"pair": func(a, b any) [2]any { return [2]any{a, b} },
	}
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// exact is a time as people write it, with its zone.
func (l *language) exact(t time.Time) string {
	return t.In(l.location).Format("2006-01-02 15:04:05 MST")
}

// day is a date for what is days away.
func (l *language) day(t time.Time) string { return t.In(l.location).Format("2006-01-02") }

// ago tells how long ago a time was, or how long from now it is.
func (l *language) ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 0:
		return l.text("time.in", l.duration(-d))
	case d < 2*time.Second:
		return l.text("time.now")
	}
	return l.text("time.ago", l.duration(d))
}

// duration is a length of time in its largest unit, and a second where that says more.
func (l *language) duration(d time.Duration) string {
	const day = 24 * time.Hour
	unit := func(n time.Duration, key string) string {
		return strconv.FormatInt(int64(n), 10) + " " + l.text("unit."+key)
	}
	two := func(n time.Duration, key string, rest time.Duration, small string) string {
		if rest == 0 {
			return unit(n, key)
		}
		return unit(n, key) + " " + unit(rest, small)
	}
	switch {
	case d < time.Minute:
		return unit(d/time.Second, "s")
	case d < time.Hour:
		return unit(d/time.Minute, "min")
	case d < 10*time.Hour:
		return two(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	case d < 2*day:
		return unit(d/time.Hour, "h")
	case d < 10*day:
		return two(d/day, "d", d%day/time.Hour, "h")
	}
	return unit(d/day, "d")
}

// left tells how long there is until a deadline, or how long it has passed.
func (l *language) left(now, deadline time.Time) string {
	if d := deadline.Sub(now); d >= 0 {
		return l.text("time.left", l.duration(d))
	}
	return l.text("time.late", l.duration(now.Sub(deadline)))
}

// number writes three digits that count.
func (l *language) number(v float64) string {
	size := math.Abs(v)
	decimals := 0
	switch {
	case v == math.Trunc(v) && size < 1e6:
	case size < 0.1:
		decimals = 3
	case size < 10:
		decimals = 2
	case size < 100:
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if size >= 1e6 {
		s = strconv.FormatFloat(v, 'g', 4, 64)
	}
	if strings.Contains(s, ".") && !strings.Contains(s, "e") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return strings.Replace(s, ".", l.comma, 1)
}

func (l *language) signed(seconds float64) string {
	sign := "+"
	if seconds < 0 {
		sign = "−"
	}
	return sign + l.seconds(math.Abs(seconds))
}

// value writes a figure in a unit that people read: GiB, %, ms.
func (l *language) value(m engine.MetricView) string {
	unit, per, _ := strings.Cut(m.Unit, "_per_second")
	if per != "" || strings.HasSuffix(m.Unit, "_per_second") {
		per = "/s"
	}
	switch v := m.Value; {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case unit == "bytes":
		return l.bytes(v) + per
	case unit == "ratio":
		return l.number(100*v) + " %"
	case unit == "seconds" && v > 1e9: // a moment, not a length of time
		return l.exact(time.Unix(int64(v), 0))
	case unit == "seconds":
		return l.seconds(v)
	case unit == "celsius":
		return l.number(v) + " °C"
	case unit == "boolean" && v == 0:
		return l.text("no")
	case unit == "boolean":
		return l.text("yes")
	case unit == "info" || unit == "":
		return l.number(v)
	default:
		return l.number(v) + " " + unit + per
	}
}

func (l *language) bytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return l.number(v) + " " + units[i]
}

func (l *language) seconds(v float64) string {
	switch {
	case v == 0:
		return "0 s"
	case v < 0.001:
		return l.number(v*1e6) + " µs"
	case v < 1:
		return l.number(v*1e3) + " ms"
	case v < 120:
		return l.number(v) + " s"
	case v > 100*365*24*3600:
		return fmt.Sprintf("%g s", v)
	}
	return l.duration(time.Duration(v) * time.Second)
}

// metricLabel is a metric's name without the unit that its value is shown with.
func metricLabel(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"_bytes", "_ratio", "_seconds", "_celsius"} {
		name = strings.TrimSuffix(name, unit)
	}
	return strings.ReplaceAll(name, "_", " ")
}
