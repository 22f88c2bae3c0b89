// Package hostfs reads the kernel's files from where gopsutil reads them: from a
// root given with the context under gopsutil's keys, from its environment
// variables, or from the machine itself. So one fixture serves both.
package hostfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/common"
)

// Proc returns a path under /proc.
func Proc(ctx context.Context, elem ...string) string {
	return path(ctx, common.HostProcEnvKey, "/proc", elem)
}

// Sys returns a path under /sys.
func Sys(ctx context.Context, elem ...string) string {
	return path(ctx, common.HostSysEnvKey, "/sys", elem)
}

// Run returns a path under /run.
func Run(ctx context.Context, elem ...string) string {
	return path(ctx, common.HostRunEnvKey, "/run", elem)
}

// Root returns a path under /.
func Root(ctx context.Context, elem ...string) string {
	return path(ctx, common.HostRootEnvKey, "/", elem)
}

func path(ctx context.Context, key common.EnvKeyType, fallback string, elem []string) string {
	root := fallback
	if env, ok := ctx.Value(common.EnvKey).(common.EnvMap); ok && env[key] != "" {
		root = env[key]
	} else if v := os.Getenv(string(key)); v != "" {
		root = v
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// WithRoot returns a context whose /proc, /sys and /run are folders of root.
func WithRoot(ctx context.Context, root string) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{
		common.HostProcEnvKey: filepath.Join(root, "proc"),
		common.HostSysEnvKey:  filepath.Join(root, "sys"),
		common.HostRunEnvKey:  filepath.Join(root, "run"),
		common.HostEtcEnvKey:  filepath.Join(root, "etc"),
		common.HostVarEnvKey:  filepath.Join(root, "var"),
		common.HostDevEnvKey:  filepath.Join(root, "dev"),
		common.HostRootEnvKey: root,
	})
}

// Pressure is how long tasks waited for a resource in the last minute, as a ratio
// of time: some task, or all at once (https://docs.kernel.org/accounting/psi.html).
type Pressure struct{ Some, Full float64 }

// ReadPressure reads the pressure on cpu, memory or io. ok is false on a kernel
// that does not measure it.
func ReadPressure(ctx context.Context, resource string) (p Pressure, ok bool) {
	data, err := os.ReadFile(Proc(ctx, "pressure", resource))
	if err != nil {
		return Pressure{}, false
	}
	p, err = ParsePressure(data)
	return p, err == nil
}

// ParsePressure reads a file of /proc/pressure. Kernels before 5.13 have no full
// line for the processor.
func ParsePressure(data []byte) (Pressure, error) {
	var p Pressure
	found := false
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			continue
		}
		text, ok := strings.CutPrefix(fields[2], "avg60=")
		percent, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || !(percent >= 0 && percent <= 100) {
			return Pressure{}, fmt.Errorf("%q is no line of pressure", line)
		}
		switch fields[0] {
		case "some":
			p.Some, found = percent/100, true
		case "full":
			p.Full = percent / 100
		}
	}
	if !found {
		return Pressure{}, fmt.Errorf("no line of pressure")
	}
	return p, nil
}
