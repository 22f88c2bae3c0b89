// Package text writes figures for people, with units.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size with three digits: 0 B, 64 MiB, 12.3 GiB.
func Bytes[N ~uint64 | ~int64 | ~float64](n N) string {
	const units = "KMGTPE"
	v, unit := float64(n), -1
	for v >= 1023.5 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	if unit < 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	digits := 1
	if v >= 99.95 {
		digits = 0
	}
	number := strings.TrimSuffix(strconv.FormatFloat(v, 'f', digits, 64), ".0")
	return number + " " + units[unit:unit+1] + "iB"
}

// Percent writes a ratio: 24 %, 3.1 %, 0 %.
func Percent(ratio float64) string {
	digits := 0
	if p := ratio * 100; p > 0 && p < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(ratio*100, 'f', digits, 64) + " %"
}

// Duration writes a length of time in its two largest units: 40 d 2 h, 3 m 10 s.
func Duration(d time.Duration) string {
	if d > 0 && d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		out := fmt.Sprintf("%d %s", d/u.size, u.name)
		if i+1 < len(units) && d%u.size >= units[i+1].size {
			out += fmt.Sprintf(" %d %s", d%u.size/units[i+1].size, units[i+1].name)
		}
		return out
	}
	return "0 s"
}
