package enroll

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v3/host"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// Machine describes the machine that this process runs on. What can't be found out
// stays empty.
func Machine(ctx context.Context, role agentpb.Role, version string) *agentpb.Machine {
	m := &agentpb.Machine{Os: runtime.GOOS, Arch: runtime.GOARCH, Role: role, AgentVersion: version}
	m.Hostname, _ = os.Hostname()
	if platform, _, v, err := host.PlatformInformationWithContext(ctx); err == nil {
		m.Platform = strings.TrimSpace(platform + " " + v)
	}
	m.Kernel, _ = host.KernelVersionWithContext(ctx)
	if boot, err := host.BootTimeWithContext(ctx); err == nil {
		m.BootTimeMs = int64(boot) * 1000
	}
	m.Fingerprint = Fingerprint(hardware(ctx))
	return m
}

// fingerprintKey salts the fingerprint, so that a hash says nothing to who knows
// the hash of the same thing from elsewhere.
const fingerprintKey = "wacht machine fingerprint 1"

// Fingerprint hashes what stays the same while a machine does, one hash for each,
// in a fixed order and without repetition.
func Fingerprint(parts []string) [][]byte {
	parts = slices.Clone(parts)
	slices.Sort(parts)
	var out [][]byte
	for _, part := range slices.Compact(parts) {
		if strings.HasSuffix(part, "=") {
			continue
		}
		mac := hmac.New(sha256.New, []byte(fingerprintKey))
		mac.Write([]byte(part))
		out = append(out, mac.Sum(nil)[:16])
	}
	return out
}

// hardware names the machine: DMI UUID, machine-id, and the addresses of its
// physical network cards.
func hardware(ctx context.Context) []string {
	parts := identifiers(ctx)
	cards, err := net.Interfaces()
	if err != nil {
		return parts
	}
	for _, card := range cards {
		a := card.HardwareAddr
		// The second bit of the first byte marks an address that no maker gave out
		// (IEEE 802, locally administered): virtual cards, containers, private Wi-Fi.
		if len(a) == 6 && a[0]&2 == 0 && physical(card.Name) {
			parts = append(parts, "mac="+a.String())
		}
	}
	return parts
}
