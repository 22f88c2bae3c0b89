package linux

import (
	"strings"
	"testing"
)

// smartctl stands for the real one, which finds no drive in a container: it has one
// drive, whose model says who runs it with which rights.
const smartctl = `#!/bin/sh
case $1 in --scan-open) echo '{"devices":[{"name":"/dev/sda","type":"sat"}]}'; exit;; esac
rights=$(grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\t\n' '  ')
echo "{\"model_name\":\"user $(id -u) $rights\",\"serial_number\":\"SERIAL1\",\"smart_support\":{\"available\":true,\"enabled\":true}}"
`

// TestDrives: the agent, which is not root, asks drives through the helper that its
// package brings; the first question starts it, and it ends by itself. Nobody else may.
func TestDrives(t *testing.T) {
	m := boot(t)
	m.install("agent", older)
	m.write("/usr/sbin/smartctl", smartctl, 0o755)
	if !m.active("wacht-smart-helper.socket") || m.active("wacht-smart-helper.service") {
		t.Error("the package has not the socket alone started")
	}
	said := m.run("runuser", "-u", "wacht-agent", "--", "wacht-agent", "check", "smart")
	// MKNOD is capability 27 and SYS_ADMIN 21; SYS_RAWIO, 17, no container has. Seccomp 2
	// is a filter of system calls.
	for _, want := range []string{"SERIAL1", "user 0 ", "CapBnd: 0000000008200000", "NoNewPrivs: 1", "Seccomp: 2"} {
		if !strings.Contains(said, want) {
			t.Errorf("the check lacks %q:\n%s", want, said)
		}
	}
	said = m.run("runuser", "-u", "nobody", "--", "wacht-agent", "check", "smart", "--config", "/dev/null")
	if !strings.Contains(said, "permission denied; the agent's group must be SocketGroup= of wacht-smart-helper.socket") {
		t.Errorf("somebody else gets %s", said)
	}
	m.await("the end of the helper", func() bool { return !m.active("wacht-smart-helper.service") })
	if m.property("wacht-smart-helper.service", "Result") != "success" || !m.active("wacht-smart-helper.socket") {
		t.Error("the helper did not end well")
	}
	m.run("runuser", "-u", "wacht-agent", "--", "wacht-agent", "check", "smart")
}
