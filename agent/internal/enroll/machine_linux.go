package enroll

import (
	"context"
	"os"
	"strings"
)

// identifiers reads the DMI product UUID (root alone may) and systemd's machine-id
// (machine-id(5)).
func identifiers(context.Context) []string {
	return []string{
		"dmi=" + strings.ToLower(read("/sys/class/dmi/id/product_uuid")),
		"machine-id=" + read("/etc/machine-id"),
	}
}

func read(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// physical says whether a network card is a device and not a bridge or tunnel.
func physical(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name + "/device")
	return err == nil
}

// BootID changes at each boot of the machine (random(4)).
func BootID(context.Context) string { return read("/proc/sys/kernel/random/boot_id") }
