package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
)

// A plugin's results are at the collector like another check's, and so is the reason
// when the agent refuses to run it.
func TestPlugin(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: an agent that is not runs plugins as its own user")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(home, ".wacht-e2e-") // others must not be able to write there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	program := filepath.Join(folder, "wacht-plugin-reboot")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "../../plugins/examples/go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, out)
	}
	s := serve(t, options{policy: "- checks: {reboot: {interval: 2s}}\n"})
	m := join(t, s, "", only("memory")+"plugin_dir: "+folder+"\n")
	must(t, "wacht-agent", "plugin", "allow", program, "--config", m.config, "--state-dir", m.state)
	m.run()
	await(t, "the plugin's result", func() bool {
		return hasState(s, m, checks.OK, "reboot is needed", 2)
	})

	m.stop()
	write(t, program, "#!/bin/sh\nexec sleep 1000\n")
	m.run()
	await(t, "the reason why it is refused", func() bool {
		return hasState(s, m, checks.Unknown, "its SHA-256 is ", 0)
	})
}

// hasState says whether the newest result of the plugin's check is as wanted.
func hasState(s *server, m *machine, status checks.Status, text string, metrics int) bool {
	for _, st := range s.host(m.host).Checks {
		if st.Check == "reboot" {
			return st.Status == status && strings.Contains(st.Summary, text) && len(st.Metrics) == metrics
		}
	}
	return false
}
