package uptime

import (
	"context"
	"time"
)

// rebootRequired is not known: macOS restarts as part of an update.
func rebootRequired(context.Context, time.Time) reboot { return reboot{} }
