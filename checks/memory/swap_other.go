//go:build !linux

package memory

import (
	"context"

	"github.com/shirou/gopsutil/v3/mem"
)

// readSwap has the sizes alone: these systems count swapping in other terms.
func readSwap(ctx context.Context, _ *mem.VirtualMemoryStat) swap {
	s, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return swap{}
	}
	return swap{total: s.Total, used: s.Used}
}
