//go:build !linux

package agent

import (
	"context"
	"fmt"
	"os"

	gopsutil "github.com/shirou/gopsutil/v3/process"
)

func self(ctx context.Context) (process, error) {
	me, err := gopsutil.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err != nil {
		return process{}, err
	}
	times, err := me.TimesWithContext(ctx)
	if err != nil {
		return process{}, fmt.Errorf("processor time: %w", err)
	}
	p := process{cpu: times.User + times.System}
	if m, err := me.MemoryInfoWithContext(ctx); err == nil {
		p.resident = m.RSS
	}
	if n, err := me.NumFDsWithContext(ctx); err == nil {
		p.handles = int(n)
	}
	return p, nil
}
