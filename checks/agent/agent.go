// Package agent is the check of the program that it is part of.
package agent

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// The figures that only the agent's other parts know. A Stats function gives those
// that it has, in the unit that the name ends with.
const (
	SpoolRuns              = "spool_runs"
	SpoolBytes             = "spool_bytes"
	DroppedRunsTotal       = "dropped_runs_total"
	ClockSkewSeconds       = "clock_skew_seconds" // this machine's clock less the collector's
	CertificateLeftSeconds = "certificate_left_seconds"
)

// Figures are the names that Stats may give.
func Figures() []string {
	return []string{SpoolRuns, SpoolBytes, DroppedRunsTotal, ClockSkewSeconds, CertificateLeftSeconds}
}

// Stats gives the agent's own figures of this moment, each under one of Figures.
type Stats func(context.Context) map[string]float64

type check struct {
	spec    *checks.Spec
	stats   Stats
	version string
}

// New returns the check of an agent of the given version. stats may be nil.
func New(stats Stats, version string) checks.Check {
	if stats == nil {
		stats = func(context.Context) map[string]float64 { return nil }
	}
	if version == "" {
		version = "unknown"
	}
	return check{checks.MustDeclaration("agent"), stats, version}
}

func (c check) Spec() *checks.Spec { return c.spec }

// Discover finds the agent that this is.
func (c check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}}, nil
}

// process is what the system says of this process.
type process struct {
	resident, proportional uint64  // bytes; 0 is not known
	cpu                    float64 // seconds
	handles                int     // 0 is not known
}

// Run reads this process's use and the agent's own figures.
func (c check) Run(ctx context.Context, _ *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	p, err := self(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("reading what the agent uses: %w", err)
	}
	var figures metric.List
	figures.Gauge("info", 1, checks.Label{Name: "version", Value: c.version}, checks.Label{Name: "go", Value: runtime.Version()})
	p.add(&figures)
	stats := c.stats(ctx)
	if err := c.addStats(&figures, stats); err != nil {
		return checks.Run{}, err
	}
	return checks.Run{
		Results:  []checks.Result{{Summary: c.summary(p, stats), Metrics: figures}},
		Complete: true,
	}, nil
}

func (p process) add(figures *metric.List) {
	if p.resident > 0 {
		figures.Gauge("resident_bytes", float64(p.resident))
	}
	if p.proportional > 0 {
		figures.Gauge("proportional_bytes", float64(p.proportional))
	}
	figures.Counter("cpu_seconds_total", p.cpu)
	figures.Gauge("goroutines", float64(runtime.NumGoroutine()))
	if p.handles > 0 {
		figures.Gauge("open_handles", float64(p.handles))
	}
}

func (c check) addStats(figures *metric.List, stats map[string]float64) error {
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		if !slices.Contains(Figures(), name) {
			return fmt.Errorf("the agent gave a figure %q; it may give %s", name, strings.Join(Figures(), ", "))
		}
		if c.spec.Metric(name).Type == checks.Counter.String() {
			figures.Counter(name, stats[name])
		} else {
			figures.Gauge(name, stats[name])
		}
	}
	return nil
}

func (c check) summary(p process, stats map[string]float64) string {
	parts := []string{"version " + c.version}
	if p.resident > 0 {
		parts = append(parts, text.Bytes(p.resident)+" of memory")
	}
	if n, ok := stats[SpoolRuns]; ok {
		parts = append(parts, fmt.Sprintf("%.0f runs in the spool", n))
	}
	if n := stats[DroppedRunsTotal]; n > 0 {
		parts = append(parts, fmt.Sprintf("%.0f runs dropped", n))
	}
	if left, ok := stats[CertificateLeftSeconds]; ok {
		parts = append(parts, certificate(left))
	}
	return strings.Join(parts, ", ")
}

func certificate(left float64) string {
	d := time.Duration(left * float64(time.Second))
	if d <= 0 {
		return "certificate ended " + text.Duration(-d) + " ago"
	}
	return "certificate ends in " + text.Duration(d)
}
