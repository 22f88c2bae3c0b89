package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
)

// installProbe puts agent and probe where only root can write, beside each other as they
// are installed, and returns the folder.
func installProbe(t testing.TB) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(home, ".wacht-e2e-") // others must not be able to write there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	data, err := os.ReadFile(binary("wacht-agent"))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "wacht-agent"), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Not beside the programs of the other tests, which would use it.
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags=grpcnotrace", "-o", folder+"/", "../../plugins/cmd/wacht-probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v\n%s", err, out)
	}
	return folder
}

// resolve runs Debian's unbound, which knows www.test, and returns where it listens.
func resolve(t *testing.T) (at string, stop func()) {
	t.Helper()
	const path = "/usr/sbin/unbound"
	if _, err := os.Stat(path); err != nil {
		t.Skip("unbound is not installed (Debian: apt-get install unbound)")
	}
	at = freeAddress(t)
	addr := netip.MustParseAddrPort(at)
	conf := filepath.Join(t.TempDir(), "unbound.conf")
	write(t, conf, fmt.Sprintf("server:\n  interface: %s\n  port: %d\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n"+
		"  do-daemonize: no\n  module-config: iterator\n  local-zone: \"test.\" static\n  local-data: \"www.test. A 192.0.2.10\"\n"+
		"remote-control:\n  control-enable: no\n", addr.Addr(), addr.Port()))
	p := launchAt(t, path, "-d", "-p", "-c", conf)
	await(t, "unbound", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return at, p.kill
}

// probeOf is the process of an agent's probe, or 0.
func probeOf(t testing.TB, agent int) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pgrep", "-P", fmt.Sprint(agent)).Output()
	if err != nil {
		return 0
	}
	return int(number(strings.Fields(string(out))[0]))
}

// A check that only wacht-probe has is known to the agent beside it, and a resolver that
// is gone becomes an incident of the right category, which ends when it is back.
func TestProbe(t *testing.T) {
	folder := installProbe(t)
	at, stop := resolve(t)
	s := serve(t, options{policy: fmt.Sprintf(
		"- match: {}\n  checks:\n    dns: {interval: 2s, timeout: 2s, params: {name: www.test, resolvers: [%q]}}\n", at)})
	m := join(t, s, "", strings.Replace(only("memory"), "]", ", internet]", 1))
	own := filepath.Join(folder, "wacht-agent")
	flags := []string{"--config", m.config, "--state-dir", m.state}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"checks", "dns"}, "query"},
		{[]string{"check", "dns", "name=www.test", "resolvers=" + at}, "www.test. is 192.0.2.10"},
		{[]string{"discover"}, "internet"},
	} {
		out, err := exec.CommandContext(t.Context(), own, append(tt.args, flags...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%v must say %q, but: %v\n%s", tt.args, tt.want, err, out)
		}
	}

	m.program = launchAt(t, own, append([]string{"run", "--log-format", "json"}, flags...)...)
	await(t, "the resolver", func() bool { return s.level(m.host, at) == "ok" })
	if probeOf(t, m.cmd.Process.Pid) == 0 {
		t.Error("the probe does not run")
	}
	stop()
	in := awaitState(t, s, at, "open")
	if in.Category != "internet" || in.Priority != "P2" || !strings.Contains(in.Title, "Names do not resolve at "+at) {
		t.Errorf("the incident is %+v", in)
	}
	m.stop()
}

// A probe that others can change is not run, and the results say why.
func TestProbeOthersCanChange(t *testing.T) {
	folder := installProbe(t)
	if err := os.Chmod(filepath.Join(folder, "wacht-probe"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := serve(t, options{policy: "- match: {}\n  checks:\n    dns: {interval: 2s, timeout: 2s, params: {resolvers: [127.0.0.1]}}\n"})
	m := join(t, s, "", strings.Replace(only("memory"), "]", ", internet]", 1))
	m.program = launchAt(t, filepath.Join(folder, "wacht-agent"), "run", "--config", m.config, "--state-dir", m.state)
	await(t, "the reason", func() bool {
		for _, st := range s.host(m.host).Checks {
			if st.Check == "dns" && st.Status == checks.Unknown && strings.Contains(st.Summary, "everybody can write to ") {
				return true
			}
		}
		return false
	})
	m.stop()
}

// The probe is gone when nothing has been due for a minute. What memory the agent has
// with it and without, and the probe itself, is told.
func TestProbeIsApart(t *testing.T) {
	t.Parallel()
	folder := installProbe(t)
	s := serve(t, options{policy: "- match: {}\n  checks:\n    dns: {interval: 1h, params: {resolvers: [127.0.0.1]}}\n    internet: {interval: 1h}\n"})
	plain := join(t, s, "", only("memory"))
	with := join(t, s, "", only("memory"))
	plain.run()
	with.program = launchAt(t, filepath.Join(folder, "wacht-agent"), "run", "--config", with.config, "--state-dir", with.state)
	probe := 0
	await(t, "the probe", func() bool {
		probe = probeOf(t, with.cmd.Process.Pid)
		return probe != 0
	})
	await(t, "results of both", func() bool {
		return s.host(plain.host).States > 0 && s.host(with.host).States > 0
	})
	most := 0.0
	await(t, "the probe's end", func() bool {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", probe)); err == nil {
			if _, after, ok := strings.Cut(string(data), "\nPss:"); ok {
				most = max(most, number(strings.Fields(after)[0])/1024)
			}
		}
		return probeOf(t, with.cmd.Process.Pid) == 0
	})
	a, b := pss(t, plain.cmd.Process.Pid), pss(t, with.cmd.Process.Pid)
	t.Logf("the agent has %.1f MiB without the probe and %.1f with it; the probe had %.1f at most", a, b, most)
	plain.stop()
	with.stop()
}
