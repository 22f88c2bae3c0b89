package linux

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// The versions that are installed, upgraded to and downgraded from.
const (
	older = "1.0.0"
	newer = "1.1.0"
)

// packages is the folder of the packages of both versions.
var packages string //nolint:gochecknoglobals // built once for all tests

func TestMain(m *testing.M) { os.Exit(built(m.Run)) }

func built(run func() int) int {
	dir, err := os.MkdirTemp("", "wacht-packages-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		packages = dir
		for _, version := range []string{older, newer} {
			err = build(dir, "VERSION=v"+version)
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// build makes the packages for this machine's architecture.
func build(dir string, environment ...string) error {
	cmd := exec.CommandContext(context.Background(), "./build", dir)
	cmd.Env = append(append(os.Environ(), "ARCHES="+runtime.GOARCH), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the packages: %w\n%s", err, out)
	}
	return nil
}

func deb(part, version string) string {
	return filepath.Join(packages, fmt.Sprintf("wacht-%s_%s_%s.deb", part, version, runtime.GOARCH))
}

// rpm finds a part's rpm, which names the architecture in a way of its own.
func rpm(t *testing.T, part, version string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(packages, fmt.Sprintf("wacht-%s-%s-1.*.rpm", part, version)))
	if err != nil || len(found) != 1 {
		t.Fatalf("rpms of wacht-%s %s: %v, %v", part, version, found, err)
	}
	return found[0]
}

// need skips where a Debian package or root is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: %v", program, err)
		}
	}
}

// output runs a program, demands that it succeeds, and returns what it wrote.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}
