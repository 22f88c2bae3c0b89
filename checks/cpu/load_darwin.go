package cpu

import (
	"context"

	gopsutil "github.com/shirou/gopsutil/v3/load"
)

func readLoad(ctx context.Context) (load, bool) {
	avg, err := gopsutil.AvgWithContext(ctx)
	if err != nil {
		return load{}, false
	}
	return load{one: avg.Load1, five: avg.Load5, fifteen: avg.Load15, running: -1}, true
}
