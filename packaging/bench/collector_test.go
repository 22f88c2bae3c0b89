//go:build linux

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
)

// BenchmarkCollector measures results from the agents' spools to the acknowledgement
// that they are decided: rules and desk have had them, and what follows is committed
// with fsync. History is on, and synced within a second. Collector and agents share
// the machine's processors.
func BenchmarkCollector(b *testing.B) {
	w := joined(b)
	for _, of := range []struct {
		perMessage int
		target     float64
	}{{2, 20_000}, {10, 100_000}, {50, 100_000}} {
		b.Run(fmt.Sprintf("perMessage=%d", of.perMessage), func(b *testing.B) { w.collector(b, of.perMessage, of.target) })
	}
}

// collector measures the most that goes, and the latency at half of the target, in
// results a second.
func (w base) collector(b *testing.B, perMessage int, target float64) {
	s, l := w.start(b, ""), load(perMessage)
	empty := s.collector.Usage()
	s.connect()
	idle := s.collector.Usage()
	s.report(l)
	known := s.collector.Usage()
	for b.Loop() {
		stop := s.profile()
		full := s.flooded(2*time.Second, 12*time.Second)
		stop()
		s.print(l, full)
		traced := s.trace()
		half := s.paced(target/2/float64(perMessage), 2*time.Second, 10*time.Second)
		traced()
		s.printHalf(target, half)
		b.ReportMetric(float64(full.Results)/full.Seconds, "results/s")
		b.ReportMetric(full.Quantile(0.99).Seconds()*1000, "p99-ack-ms")
		b.ReportMetric(half.Quantile(0.99).Seconds()*1000, "p99-ack-ms-at-half")
		b.ReportMetric(0, "ns/op")
	}
	perHost := float64(idle.Resident-empty.Resident) / hosts / 1024
	perState := float64(known.Resident-idle.Resident) / (hosts * statesPerHost) / 1024
	b.Logf("memory: %.1f KiB a connected host, %.2f KiB a state with %d series in history; %d MiB without hosts connected, at most %d MiB",
		perHost, perState, metrics, empty.Resident>>20, s.collector.UsageNow().Peak>>20)
	b.ReportMetric(perHost, "KiB/host")
	b.ReportMetric(perState, "KiB/state")
}

func (s *side) print(l *fleet.Load, f stretch) {
	commits := f.rose("wacht_collector_commit_seconds_count")
	perSecond := func(n float64) float64 { return n / f.Seconds }
	s.b.Logf("%d hosts, %d states, %d metrics a result, %d results a message: %.0f results/s decided and fsynced, %.0f messages/s",
		hosts, hosts*statesPerHost, l.Metrics, l.Results, perSecond(float64(f.Results)), perSecond(float64(f.Runs)))
	s.b.Logf("acknowledged in %s (median), %s (99 %%), every host waiting for one acknowledgement", ms(f.Quantile(0.5)), ms(f.Quantile(0.99)))
	s.b.Logf("%.0f fsyncs/s: %.0f commits/s of two each, %.2f ms a commit, and history's; %.0f transitions/s, %.0f samples/s in history",
		perSecond(2*commits)+fsyncsOfHistory, perSecond(commits), 1000*f.rose("wacht_collector_commit_seconds_sum")/commits,
		perSecond(f.rose("wacht_collector_transitions_total")), perSecond(f.rose("wacht_collector_samples_total")))
	s.b.Logf("%.1f bytes a result to the collector, %.1f back, %.1f written to disk; processor time a message: collector %.0f µs, agents %.0f µs",
		float64(f.Sent)/float64(f.Results), float64(f.Received)/float64(f.Results), float64(f.written)/float64(f.Results),
		float64((f.to.collector-f.from.collector).Microseconds())/float64(f.Runs), float64((f.to.agents-f.from.agents).Microseconds())/float64(f.Runs))
	s.b.Log(shares(f.from, f.to))
}

// fsyncsOfHistory is how often a second history is synced under load.
const fsyncsOfHistory = 3

func (s *side) printHalf(target float64, f stretch) {
	s.b.Logf("at half of %.0f, %.0f results/s: acknowledged in %s (median), %s (99 %%)", target,
		float64(f.Results)/f.Seconds, ms(f.Quantile(0.5)), ms(f.Quantile(0.99)))
	s.b.Log(shares(f.from, f.to))
}
