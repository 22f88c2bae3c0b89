//go:build !linux

package enroll

import (
	"context"
	"strconv"

	"github.com/shirou/gopsutil/v3/host"
)

// identifiers asks the system for its id: MachineGuid on Windows, kern.uuid on macOS.
func identifiers(ctx context.Context) []string {
	id, _ := host.HostIDWithContext(ctx)
	return []string{"host-id=" + id}
}

func physical(string) bool { return true }

// BootID changes at each boot of the machine.
func BootID(ctx context.Context) string {
	at, _ := host.BootTimeWithContext(ctx)
	return strconv.FormatUint(at/10, 10) // the clock may have been corrected by a little
}
