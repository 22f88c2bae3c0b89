package builtin_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/builtin"
)

// BenchmarkLocalChecks runs once the checks that every machine has and that talk to
// nothing else, as an agent does every minute, and reports what part of a processor
// that is.
func BenchmarkLocalChecks(b *testing.B) {
	var all []checks.Check
	for _, name := range []string{"agent", "cpu", "disk", "diskio", "memory", "uptime"} {
		all = append(all, builtin.ByName(builtin.Options{}, name))
	}
	last := make([]any, len(all))
	before := processorTime(b)
	b.ReportAllocs()
	for b.Loop() {
		for i, c := range all {
			run, err := c.Run(b.Context(), &checks.Env{Last: last[i]})
			if err != nil {
				b.Fatal(err)
			}
			last[i] = run.Sample
		}
	}
	perMinute := (processorTime(b) - before) / time.Duration(b.N)
	b.ReportMetric(100*perMinute.Seconds()/60, "%core@60s")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
