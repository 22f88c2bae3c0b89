package engine_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// BenchmarkDecide measures durable results from the decoded message to both
// acknowledgements, rules and history on, without network: 3 metrics a result, 1 %
// of the results a transition.
func BenchmarkDecide(b *testing.B) {
	for _, perMessage := range []int{2, 10, 50} {
		b.Run(fmt.Sprintf("perMessage=%d", perMessage), func(b *testing.B) {
			db, _, err := boltstore.Open(filepath.Join(b.TempDir(), "wacht.db"), boltstore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close() })
			w := newWorld(b, db)
			const hosts = 200
			streams := make([]*stream, hosts)
			items := make([]string, perMessage)
			for i := range items {
				items[i] = fmt.Sprintf("/data%d", i)
			}
			for i := range streams {
				name := fmt.Sprintf("h%d", i)
				w.join(name)
				s, _, err := w.Connect(b.Context(), "id-"+name, hello(name, uint64(i+1), 0, 0))
				if err != nil {
					b.Fatal(err)
				}
				streams[i] = &stream{Session: s, t: b, epoch: uint64(i + 1)}
				streams[i].define(items...)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			messages := b.N/(hosts*perMessage) + 1
			for i, s := range streams {
				wg.Go(func() {
					start := time.Now().Add(-time.Duration(messages) * time.Second).Truncate(time.Second)
					for n := range messages {
						s.send(agentpb.Lane_LIVE, many(uint64(n+1), start.Add(time.Duration(n)*time.Second), perMessage, (n*hosts+i)*perMessage))
						if n%64 == 63 {
							s.Messages()
						}
					}
					s.acked(agentpb.Lane_LIVE, uint64(messages))
				})
			}
			wg.Wait()
			b.ReportMetric(float64(messages*hosts*perMessage)/b.Elapsed().Seconds(), "results/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// many is a run in which one result of a hundred breaches and the next run of the
// same item recovers.
func many(seq uint64, at time.Time, n, offset int) *agentpb.PackedRun {
	const size = 100 << 30
	r := &agentpb.PackedRun{Sequence: seq, Task: 1, PlannedMs: at.UnixMilli(), Complete: true, NextWithinMs: 60_000}
	for i := range n {
		ratio := 0.5 + float64(seq%100)/1000
		if (offset+i)%200 == 0 {
			ratio = 0.01
		}
		r.Results = append(r.Results, &agentpb.PackedResult{
			State: uint32(i + 1), Status: checkpb.Status_OK, Values: []float64{size, size * ratio, ratio},
		})
	}
	return r
}
