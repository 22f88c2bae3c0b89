//go:build !linux

package diskio

import (
	"context"
	"fmt"

	"github.com/shirou/gopsutil/v3/disk"
)

// read has the counters alone: gopsutil's times on Windows are in units of their
// own.
func read(ctx context.Context) (map[string]counters, error) {
	all, err := disk.IOCountersWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the drives' counters: %w", err)
	}
	drives := make(map[string]counters, len(all))
	for name, s := range all {
		drives[name] = counters{
			reads: s.ReadCount, readBytes: s.ReadBytes,
			writes: s.WriteCount, writtenBytes: s.WriteBytes,
		}
	}
	return drives, nil
}
