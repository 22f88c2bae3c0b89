//go:build linux

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/collectortest"
)

// moment is what has been used of the machine's processors since it started.
type moment struct {
	at                time.Time
	collector, agents time.Duration
	busy, stolen      time.Duration
}

func now(b *testing.B, p *collectortest.Process) moment {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	m := moment{
		at: time.Now(), collector: p.UsageNow().CPU,
		agents: time.Duration(self.Utime.Nano() + self.Stime.Nano()),
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	// The first line: user nice system idle iowait irq softirq steal, in hundredths of
	// a second (proc_stat(5)).
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, text := range strings.Fields(line)[1:9] {
		n, _ := strconv.ParseInt(text, 10, 64)
		switch d := time.Duration(n) * 10 * time.Millisecond; i {
		case 3, 4:
		case 7:
			m.stolen += d
		default:
			m.busy += d
		}
	}
	return m
}

// shares says who had the processors from one moment to another. What was stolen,
// the machine's host gave to other machines: figures are low by that.
func shares(from, to moment) string {
	part := func(d time.Duration) float64 { return d.Seconds() / to.at.Sub(from.at).Seconds() }
	collector, agents := part(to.collector-from.collector), part(to.agents-from.agents)
	return fmt.Sprintf("processors: collector %.2f, agents %.2f, other programs %.2f, stolen by the machine's host %.2f",
		collector, agents, max(0, part(to.busy-from.busy)-collector-agents), part(to.stolen-from.stolen))
}
