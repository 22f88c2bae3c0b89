// Package plugintest puts a plugin's check through the suite that every check passes,
// and does so as the agent runs it: in a process of its own, through the pipe. The
// process is the test's own program, started again.
//
// A plugin's test is
//
//	func TestMain(m *testing.M) { plugintest.Main(m, check{}) }
//
//	func TestConformance(t *testing.T) { plugintest.Run(t, check{}, checktest.Options{}) }
//
// The race detector reserves more memory than a plugin may have, so that the limits on
// memory do not hold in tests.
package plugintest

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/plugins"
	"github.com/wacht-io/wacht/plugins/host"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// Main runs the tests or, in the process that a test starts as a plugin, serves the
// check.
func Main(m *testing.M, check checks.Check) {
	if Serving() {
		plugins.Serve(check)
		return
	}
	m.Run() // what it returns is the process's exit code
}

// Serving says whether this process was started as a plugin.
func Serving() bool { return os.Getenv(pluginpb.CookieKey) == pluginpb.CookieValue }

// Run starts the test's own program as a plugin and puts the check that Main serves
// through the conformance suite.
func Run(t *testing.T, check checks.Check, opts checktest.Options) {
	t.Helper()
	checktest.Run(t, Start(t, check.Spec().Name), opts)
}

// Start starts the test's own program as a plugin of the given name, and returns the
// check that Main serves there.
func Start(t testing.TB, name string) checks.Check {
	t.Helper()
	return Host(t, host.Options{Plugins: []host.Plugin{Self(t, name)}}).Checks()[0]
}

// Self allows the test's own program as a plugin of the given name.
func Self(t testing.TB, name string) host.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return Allow(t, name, data)
}

// Allow puts a program where only this user can change it, and allows it as a plugin
// of the given name, without limits.
func Allow(t testing.TB, name string, program []byte) host.Plugin {
	t.Helper()
	path := filepath.Join(Folder(t), host.FilePrefix+name)
	if err := os.WriteFile(path, program, 0o755); err != nil { //nolint:gosec // a program is executable
		t.Fatal(err)
	}
	return host.Plugin{Name: name, Path: path, SHA256: sha256.Sum256(program)}
}

// Folder makes a folder that no other user can write to, nor to any on the way to it,
// which the usual folder for tests is not.
func Folder(t testing.TB) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	dir, err := os.MkdirTemp(home, ".wacht-plugintest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Host starts a host for the time of the test.
func Host(t testing.TB, opts host.Options) *host.Host {
	t.Helper()
	h, err := host.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}
