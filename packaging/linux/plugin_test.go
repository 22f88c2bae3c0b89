package linux

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A plugin runs with the rights that the unit leaves to the agent, which keeps it from
// its own files all the same.
func TestPlugin(t *testing.T) {
	m := boot(t)
	program := m.root + "/usr/lib/wacht/plugins/wacht-plugin-reboot"
	m.installCollector()
	m.installJoined()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "../../plugins/examples/go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, out)
	}
	m.run("wacht-agent", "plugin", "allow", "/usr/lib/wacht/plugins/wacht-plugin-reboot")
	m.run("systemctl", "restart", "wacht-agent.service")
	m.await("a result of the plugin", func() bool {
		s := m.status()
		if s == nil {
			return false
		}
		for _, task := range s.Tasks {
			if task.Name == "reboot" && task.Status != "" {
				if task.Status != "ok" {
					t.Fatalf("the plugin does not work: %s", task.Summary)
				}
				return true
			}
		}
		return false
	})
	// pgrep is not in a Debian this small.
	const running = "for f in $(grep -al '^/usr/lib/wacht/plugins/' /proc/[0-9]*/cmdline); do cat ${f%cmdline}status ${f%cmdline}cgroup; done"
	got := m.run("sh", "-c", running)
	for _, want := range []string{"NoNewPrivs:\t1", "/wacht-agent.service/plugin-"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plugin runs without %q:\n%s", want, got)
		}
	}
}
