// Package cpu measures how busy the processors are.
package cpu

import (
	"context"
	"fmt"
	"runtime"

	"github.com/shirou/gopsutil/v3/cpu"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return check{checks.MustDeclaration("cpu")} }

func (c check) Spec() *checks.Spec { return c.spec }

// Discover finds the processors wherever their times can be read.
func (c check) Discover(ctx context.Context, _ *checks.Env) ([]checks.Instance, error) {
	_, err := times(ctx)
	if readable := err == nil; readable {
		return []checks.Instance{{}}, nil
	}
	return nil, nil
}

// Run compares the processors' times with those of the previous run; the first
// run has load and pressure alone.
func (c check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	now, err := times(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("reading the processors' times: %w", err)
	}
	var figures metric.List
	summary := "use follows with the next run"
	if last, ok := env.Last.(cpu.TimesStat); ok {
		if used, ok := addUse(&figures, last, now); ok {
			summary = text.Percent(used) + " used"
		}
	}
	summary += addLoad(ctx, &figures)
	if p, ok := hostfs.ReadPressure(ctx, "cpu"); ok {
		figures.Gauge("pressure_some_ratio", p.Some)
		figures.Gauge("pressure_full_ratio", p.Full)
	}
	return checks.Run{
		Results:  []checks.Result{{Summary: summary, Metrics: figures}},
		Complete: true,
		Sample:   now,
	}, nil
}

func times(ctx context.Context) (cpu.TimesStat, error) {
	all, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return cpu.TimesStat{}, err
	}
	if len(all) != 1 {
		return cpu.TimesStat{}, fmt.Errorf("%d totals instead of one", len(all))
	}
	return all[0], nil
}

func addLoad(ctx context.Context, figures *metric.List) string {
	figures.Gauge("processors", float64(runtime.NumCPU()))
	l, ok := readLoad(ctx)
	if !ok {
		return ""
	}
	figures.Gauge("load1", l.one)
	figures.Gauge("load5", l.five)
	figures.Gauge("load15", l.fifteen)
	if l.running >= 0 {
		figures.Gauge("run_queue", l.running)
	}
	return fmt.Sprintf(", load %.2f on %d processors", l.one, runtime.NumCPU())
}

// load is the number of tasks running or waiting, averaged over minutes; running
// is negative where it is not known.
type load struct{ one, five, fifteen, running float64 }

// addUse adds the part of the time between two readings that went to each mode. It
// can't say anything when no tick passed in between.
func addUse(figures *metric.List, last, now cpu.TimesStat) (used float64, ok bool) {
	before, after := modes(last), modes(now)
	var spent [len(before)]float64
	var total float64
	for i := range after {
		// A mode's time may fall a little: iowait is an estimate.
		spent[i] = max(0, after[i].seconds-before[i].seconds)
		total += spent[i]
	}
	if total <= 0 {
		return 0, false
	}
	used = 1
	for i, m := range after {
		ratio := spent[i] / total
		figures.Gauge("mode_ratio", ratio, checks.Label{Name: "mode", Value: m.name})
		if m.rest {
			used -= ratio
		}
	}
	used = min(1, max(0, used))
	figures.Gauge("used_ratio", used)
	return used, true
}

type mode struct {
	name    string
	seconds float64
	rest    bool // a processor that could have worked
}

// modes are those of /proc/stat. Guests' time is part of user and nice there.
func modes(t cpu.TimesStat) [8]mode {
	return [8]mode{
		{"user", t.User, false},
		{"nice", t.Nice, false},
		{"system", t.System, false},
		{"idle", t.Idle, true},
		{"iowait", t.Iowait, true},
		{"irq", t.Irq, false},
		{"softirq", t.Softirq, false},
		{"steal", t.Steal, false},
	}
}
