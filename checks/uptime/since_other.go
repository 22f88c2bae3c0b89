//go:build !linux

package uptime

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v3/host"
)

func since(ctx context.Context) (time.Duration, error) {
	seconds, err := host.UptimeWithContext(ctx)
	return time.Duration(seconds) * time.Second, err
}
