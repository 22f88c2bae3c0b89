package uptime

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/windows/registry"
)

// rebootRequired looks for the keys that exist only while a restart is waited for.
// PendingFileRenameOperations is not one of them: many programs leave it set to
// tidy up at the next start, whenever that is.
// https://learn.microsoft.com/windows/deployment/update/windows-update-troubleshooting
func rebootRequired(context.Context, time.Time) reboot {
	r := reboot{known: true}
	for _, sign := range []struct{ reason, key string }{
		{"Windows Update", `SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired`},
		{"component servicing", `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending`},
		{"component servicing in progress", `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootInProgress`},
	} {
		key, err := registry.OpenKey(registry.LOCAL_MACHINE, sign.key, registry.QUERY_VALUE)
		switch {
		case err == nil:
			_ = key.Close()
			r.required, r.reasons = true, append(r.reasons, sign.reason)
		case !errors.Is(err, registry.ErrNotExist):
			r.known = r.required
		}
	}
	r.known = r.known || r.required
	return r
}
