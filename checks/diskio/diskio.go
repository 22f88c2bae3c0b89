// Package diskio measures how fast the machine's drives answer.
package diskio

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return check{checks.MustDeclaration("diskio")} }

func (c check) Spec() *checks.Spec { return c.spec }

// counters are a drive's figures since boot. The three times are of a width that
// wraps within weeks, so only their differences mean something.
type counters struct {
	reads, writes           uint64 // requests
	readBytes, writtenBytes uint64
	timed                   bool   // the times below are known
	readTime, writeTime     uint32 // milliseconds, summed over requests
	busyTime                uint32 // milliseconds in which there was a request
	queueTime               uint32 // milliseconds, each times the requests there were
}

// sample is what one run saw, by drive.
type sample struct {
	at     time.Time
	drives map[string]counters
}

// Discover finds the drives; a machine whose drives can't be read has none.
func (c check) Discover(ctx context.Context, _ *checks.Env) ([]checks.Instance, error) {
	drives, err := read(ctx)
	if err != nil || len(drives) == 0 {
		return nil, err
	}
	return []checks.Instance{{Items: names(drives)}}, nil
}

// Run compares each drive's counters with those of the previous run; the first
// run has the counters alone.
func (c check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	drives, err := read(ctx)
	if err != nil {
		return checks.Run{}, err
	}
	now := sample{time.Now(), drives}
	last, _ := env.Last.(sample)
	run := checks.Run{Complete: true, Sample: now}
	for _, name := range names(drives) {
		after := drives[name]
		var r rates
		if before, ok := last.drives[name]; ok {
			r = compare(before, after, now.at.Sub(last.at))
		}
		run.Results = append(run.Results, result(name, after, r))
	}
	return run, nil
}

func names(drives map[string]counters) []string {
	out := make([]string, 0, len(drives))
	for name := range drives {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// rates are what two readings of a drive say together.
type rates struct {
	known                 bool
	timed                 bool
	reads, writes         uint64  // requests
	read, written         float64 // bytes a second
	readAwait, writeAwait float64 // seconds
	utilisation, queue    float64
}

// compare gives nothing when a counter fell: another drive has taken the name.
func compare(before, after counters, elapsed time.Duration) rates {
	if elapsed <= 0 || after.reads < before.reads || after.writes < before.writes ||
		after.readBytes < before.readBytes || after.writtenBytes < before.writtenBytes {
		return rates{}
	}
	r := rates{
		known:   true,
		timed:   after.timed,
		reads:   after.reads - before.reads,
		writes:  after.writes - before.writes,
		read:    float64(after.readBytes-before.readBytes) / elapsed.Seconds(),
		written: float64(after.writtenBytes-before.writtenBytes) / elapsed.Seconds(),
	}
	r.readAwait = seconds(after.readTime-before.readTime) / float64(max(1, r.reads))
	r.writeAwait = seconds(after.writeTime-before.writeTime) / float64(max(1, r.writes))
	r.utilisation = min(1, seconds(after.busyTime-before.busyTime)/elapsed.Seconds())
	r.queue = seconds(after.queueTime-before.queueTime) / elapsed.Seconds()
	return r
}

func seconds(milliseconds uint32) float64 { return float64(milliseconds) / 1000 }

func result(name string, c counters, r rates) checks.Result {
	var figures metric.List
	figures.Counter("read_bytes_total", float64(c.readBytes))
	figures.Counter("written_bytes_total", float64(c.writtenBytes))
	figures.Counter("reads_total", float64(c.reads))
	figures.Counter("writes_total", float64(c.writes))
	if r.timed {
		figures.Gauge("utilisation_ratio", r.utilisation)
		figures.Gauge("queue", r.queue)
		if r.reads > 0 {
			figures.Gauge("read_await_seconds", r.readAwait)
		}
		if r.writes > 0 {
			figures.Gauge("write_await_seconds", r.writeAwait)
		}
	}
	return checks.Result{Item: name, Summary: summary(c, r), Metrics: figures}
}

func summary(c counters, r rates) string {
	if !r.known {
		return fmt.Sprintf("%s read and %s written since boot; speed follows with the next run", text.Bytes(c.readBytes), text.Bytes(c.writtenBytes))
	}
	parts := []string{fmt.Sprintf("%s/s read, %s/s written", text.Bytes(r.read), text.Bytes(r.written))}
	if r.timed {
		parts = append(parts, text.Percent(r.utilisation)+" busy")
		if r.reads > 0 {
			parts = append(parts, fmt.Sprintf("%.3g ms a read", r.readAwait*1000))
		}
		if r.writes > 0 {
			parts = append(parts, fmt.Sprintf("%.3g ms a write", r.writeAwait*1000))
		}
	}
	return strings.Join(parts, ", ")
}
