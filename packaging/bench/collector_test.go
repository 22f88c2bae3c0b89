package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// BenchmarkCollector measures results from the agents' spools to the acknowledgement
// that they are decided: rules and desk have had them, and what follows is committed
// with fsync. History is on, and synced within a second. Collector and agents share
// the machine's processors.
func BenchmarkCollector(b *testing.B) {
	w := joined(b)
	for _, perMessage := range []int{2, 10, 50} {
		b.Run(fmt.Sprintf("perMessage=%d", perMessage), func(b *testing.B) { w.collector(b, perMessage) })
	}
}

func (w base) collector(b *testing.B, perMessage int) {
	s, l := w.start(b, ""), load(perMessage)
	empty := s.collector.Usage()
	s.connect()
	idle := s.collector.Usage()
	s.report(l)
	known := s.collector.Usage()
	for b.Loop() {
		stop := s.profile()
		before, used := s.metrics(), s.collector.UsageNow()
		full := s.flooded(2*time.Second, 12*time.Second)
		after, use := s.metrics(), s.collector.UsageNow()
		stop()
		s.print(l, full, before, after, used, use)
		half := s.paced(float64(full.Runs)/full.Seconds/2, 2*time.Second, 8*time.Second)
		s.printHalf(half)
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

func (s *side) print(l *fleet.Load, f fleet.Figures, before, after map[string]float64, used, use collectortest.Usage) {
	commits := after["wacht_collector_commit_seconds_count"] - before["wacht_collector_commit_seconds_count"]
	span := f.Seconds + 2 // the counters include the warm-up
	s.b.Logf("%d hosts, %d states, %d metrics a result, %d results a message: %.0f results/s decided and fsynced, %.0f messages/s",
		hosts, hosts*statesPerHost, l.Metrics, l.Results, float64(f.Results)/f.Seconds, float64(f.Runs)/f.Seconds)
	s.b.Logf("acknowledged in %s (median), %s (99 %%) with every host waiting for the one before", ms(f.Quantile(0.5)), ms(f.Quantile(0.99)))
	s.b.Logf("%.0f commits/s of two fsyncs each, %.2f ms a commit; %.0f transitions/s; %.0f samples/s synced in history", commits/span,
		1000*(after["wacht_collector_commit_seconds_sum"]-before["wacht_collector_commit_seconds_sum"])/commits,
		(after["wacht_collector_transitions_total"]-before["wacht_collector_transitions_total"])/span,
		(after["wacht_collector_samples_total"]-before["wacht_collector_samples_total"])/span)
	s.b.Logf("%.1f bytes a result to the collector, %.1f back; collector %.2f of 2 processors, %.1f bytes a result written to disk",
		float64(f.Sent)/float64(f.Results), float64(f.Received)/float64(f.Results),
		(use.CPU-used.CPU).Seconds()/span, float64(use.Written-used.Written)/(after["wacht_collector_results_total"]-before["wacht_collector_results_total"]))
}

func (s *side) printHalf(f fleet.Figures) {
	s.b.Logf("at half of that, %.0f results/s: acknowledged in %s (median), %s (99 %%)",
		float64(f.Results)/f.Seconds, ms(f.Quantile(0.5)), ms(f.Quantile(0.99)))
}
