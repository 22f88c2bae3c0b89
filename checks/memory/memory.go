// Package memory measures how much memory is left, and what its want has done.
package memory

import (
	"context"
	"fmt"

	"github.com/shirou/gopsutil/v3/mem"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return check{checks.MustDeclaration("memory")} }

func (c check) Spec() *checks.Spec { return c.spec }

// Discover finds the machine's memory.
func (c check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}}, nil
}

// Run reads the figures of this moment and the counters since boot.
func (c check) Run(ctx context.Context, _ *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	vm, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("reading the memory's use: %w", err)
	}
	if vm.Total == 0 || vm.Available > vm.Total {
		return checks.Run{}, fmt.Errorf("reading the memory's use: %d of %d bytes available makes no sense", vm.Available, vm.Total)
	}
	var figures metric.List
	figures.Gauge("total_bytes", float64(vm.Total))
	figures.Gauge("available_bytes", float64(vm.Available))
	figures.Gauge("available_ratio", ratio(vm))
	figures.Gauge("used_bytes", float64(vm.Total-vm.Available))
	s := readSwap(ctx, vm)
	s.add(&figures)
	if p, ok := hostfs.ReadPressure(ctx, "memory"); ok {
		figures.Gauge("pressure_some_ratio", p.Some)
		figures.Gauge("pressure_full_ratio", p.Full)
	}
	return checks.Run{
		Results:  []checks.Result{{Summary: summary(vm, s), Metrics: figures}},
		Complete: true,
	}, nil
}

func ratio(vm *mem.VirtualMemoryStat) float64 { return float64(vm.Available) / float64(vm.Total) }

func summary(vm *mem.VirtualMemoryStat, s swap) string {
	out := fmt.Sprintf("%s of %s available (%s)", text.Bytes(vm.Available), text.Bytes(vm.Total), text.Percent(ratio(vm)))
	if s.total > 0 {
		out += fmt.Sprintf(", %s of %s swap used", text.Bytes(s.used), text.Bytes(s.total))
	}
	return out
}

// swap is the state of swap space in bytes, and counters since boot where the
// system has them.
type swap struct {
	total, used     uint64
	counted         bool
	in, out         float64 // bytes
	oomKills        float64
	oomKillsCounted bool
}

func (s swap) add(figures *metric.List) {
	figures.Gauge("swap_size_bytes", float64(s.total))
	figures.Gauge("swap_used_bytes", float64(s.used))
	if s.counted {
		figures.Counter("swap_in_bytes_total", s.in)
		figures.Counter("swap_out_bytes_total", s.out)
	}
	if s.oomKillsCounted {
		figures.Counter("oom_kills_total", s.oomKills)
	}
}
