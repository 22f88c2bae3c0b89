package linux

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// status is what wacht-agent status --json says.
type status struct {
	Version   string
	Host      string
	Connected bool
	LastAck   time.Time `json:"last_ack"`
	Tasks     []struct{ Name, Status, Summary string }
}

// install installs packages, the newest or the oldest they may be, with answers in the
// environment, and returns what was told.
func (m *machine) install(part, version string, answers ...string) string {
	m.t.Helper()
	args := append(append([]string{"env"}, answers...), "apt-get", "install", "--yes", "--no-install-recommends", "--allow-downgrades",
		"--option=Dpkg::Use-Pty=0", "/packages/"+filepath.Base(deb(part, version)))
	return m.run(args...)
}

func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "--property="+name, "--timestamp=us+utc", unit))
}

// status asks the agent, and returns nil where none answers yet.
func (m *machine) status() *status {
	m.t.Helper()
	out, err := m.try("wacht-agent", "status", "--json")
	if err != nil {
		return nil
	}
	var s status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	return &s
}

// reports waits until an agent of the version is heard, since it started last, and
// returns its host.
func (m *machine) reports(version string) string {
	m.t.Helper()
	var s *status
	m.await("a result of agent "+version, func() bool {
		s = m.status()
		return s != nil && s.Connected && !s.LastAck.IsZero()
	})
	if s.Version != "v"+version {
		m.t.Errorf("version %s runs, want v%s", s.Version, version)
	}
	m.await("a value at the collector", func() bool {
		return strings.Contains(m.get("/metrics/hosts/"+s.Host), "\nwacht_memory_")
	})
	return s.Host
}

// get asks the collector over its loopback, with what a bare Debian has.
func (m *machine) get(path string) string {
	out, _ := m.try("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/7420 && printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:7420\r\n\r\n' "$0" >&3 && cat <&3`, path)
	return out
}

func (m *machine) token() string {
	m.t.Helper()
	return strings.TrimSpace(m.run("runuser", "-u", "wacht-collector", "--", "wacht-collector", "token", "create", "--customer", "acme", "--site", "utrecht"))
}

// hosts counts the machines that the collector knows.
func (m *machine) hosts() int {
	m.t.Helper()
	return strings.Count(m.run("wacht-collector", "host", "list"), "acme")
}

func (m *machine) active(unit string) bool { return m.property(unit, "ActiveState") == "active" }

// A machine's life with the packages: installed, joined, restarted, upgraded, downgraded,
// removed and purged.
func TestLife(t *testing.T) {
	m := boot(t)
	before := m.files()
	m.installCollector()
	host := m.installJoined()
	m.watchesAsUser()
	m.howSoon()
	m.survives("a restart of the machine", host, older, func() {
		m.stop()
		m.start()
	})
	m.changesVersion(host)
	m.staysDisabled(host)
	m.comesBack(host)
	m.joinsByFile()
	m.joinsByCommand()
	m.run("apt-get", "purge", "--yes", "wacht-agent", "wacht-collector")
	m.nothingLeft(before)
}

// policy has checks that do not run by themselves, of what is another user's and what
// takes a right.
const policy = `
- match: {customer: [acme]}
  checks:
    process/bus: {params: {name: dbus-daemon}}
    ping/own: {params: {targets: [127.0.0.1], count: 1}}
`

// installCollector does what the package says at the end.
func (m *machine) installCollector() {
	m.t.Helper()
	told := m.install("collector", older)
	for _, want := range []string{"wacht-collector user add NAME --role admin", "wacht-collector token create --customer CUSTOMER"} {
		if !strings.Contains(told, want) {
			m.t.Errorf("the package does not tell %q: %s", want, told)
		}
	}
	if !m.active("wacht-collector.service") {
		m.t.Error("the collector does not run")
	}
	m.run("sh", "-c", "echo 'correct horse battery staple' | runuser -u wacht-collector -- wacht-collector user add alice --role admin")
	m.write("/etc/resolv.conf", "nameserver 127.0.0.1\n", 0o644)
	m.write("/etc/wacht/policy/tests.yaml", policy, 0o644)
	m.run("runuser", "-u", "wacht-collector", "--", "wacht-collector", "policy", "reload")
}

// installJoined joins with answers from the environment.
func (m *machine) installJoined() string {
	m.t.Helper()
	token := m.token()
	told := m.install("agent", older, "WACHT_COLLECTOR=127.0.0.1", "WACHT_TOKEN="+token)
	host := m.reports(older)
	if strings.Contains(told, "join this machine") {
		m.t.Errorf("the package tells how to join, though the machine has: %s", told)
	}
	if m.has("/etc/wacht/join.env") || strings.Contains(m.run("journalctl", "--no-pager"), token) {
		m.t.Error("the token is still there after the joining")
	}
	for file, want := range map[string]string{
		"/etc/wacht/agent.yaml": "640 root:wacht-agent", "/etc/wacht/secrets": "750 root:wacht-agent", "/var/lib/wacht-agent": "700 wacht-agent:wacht-agent",
		"/etc/wacht/collector.yaml": "640 root:wacht-collector", "/var/lib/wacht-collector": "700 wacht-collector:wacht-collector",
	} {
		if got := strings.TrimSpace(m.run("stat", "--format=%a %U:%G", file)); got != want {
			m.t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
	return host
}

// watchesAsUser demands that checks work with the rights that the unit leaves.
func (m *machine) watchesAsUser() {
	m.t.Helper()
	well := []string{"cpu", "disk", "memory", "ping/own", "process/bus", "service", "uptime"}
	said := map[string]string{}
	defer func() { m.t.Logf("the checks say %q", said) }()
	m.await("a result of each check", func() bool {
		for _, task := range m.status().Tasks {
			said[task.Name] = strings.TrimSpace(task.Status + " " + task.Summary)
		}
		// dns is of wacht-probe, and finds no resolver here.
		return !slices.ContainsFunc(append(well, "dns"), func(name string) bool { return said[name] == "" })
	})
	for _, name := range well {
		if !strings.HasPrefix(said[name], "ok ") {
			m.t.Errorf("the check %s does not work as the service's user: %s", name, said[name])
		}
	}
	if !strings.Contains(said["dns"], "127.0.0.1") {
		m.t.Errorf("the probe does not work as the service's user: %s", said["dns"])
	}
	if got := m.property("wacht-agent.service", "NoNewPrivileges"); got != "yes" {
		m.t.Errorf("NoNewPrivileges is %s", got)
	}
}

// howSoon measures how soon a started agent is ready, and heard.
func (m *machine) howSoon() {
	m.t.Helper()
	m.run("systemctl", "restart", "wacht-agent.service")
	m.reports(older)
	ready := m.monotonic("ActiveEnterTimestampMonotonic") - m.monotonic("ExecMainStartTimestampMonotonic")
	began, err := time.Parse("Mon 2006-01-02 15:04:05.000000 MST", m.property("wacht-agent.service", "ExecMainStartTimestamp"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("the agent is ready %v after its start, and its newest result is acknowledged after %v", ready, m.status().LastAck.Sub(began).Round(time.Millisecond))
}

func (m *machine) monotonic(name string) time.Duration {
	m.t.Helper()
	us, err := strconv.ParseInt(m.property("wacht-agent.service", name), 10, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// survives demands that the same host reports again after something, and only it.
func (m *machine) survives(what, host, version string, something func()) {
	m.t.Helper()
	hosts, identity := m.hosts(), m.read("/var/lib/wacht-agent/identity.pem")
	something()
	if got := m.reports(version); got != host {
		m.t.Errorf("after %s the host is %s, not %s", what, got, host)
	}
	if m.read("/var/lib/wacht-agent/identity.pem") != identity || m.hosts() != hosts {
		m.t.Errorf("after %s the machine has another identity, of %d", what, m.hosts())
	}
}

// changesVersion upgrades and downgrades both, with a changed configuration.
func (m *machine) changesVersion(host string) {
	m.t.Helper()
	const own = "# ours\nevidence: false\n"
	for _, file := range []string{"agent.yaml", "collector.yaml"} {
		m.run("sed", "-i", "1i # ours", "/etc/wacht/"+file)
	}
	m.run("sh", "-c", "printf '"+strings.ReplaceAll(own, "\n", `\n`)+"' >> /etc/wacht/agent.yaml")
	config := m.read("/etc/wacht/agent.yaml") + m.read("/etc/wacht/collector.yaml")
	for _, change := range []struct{ what, part, version, agent string }{
		{"an upgrade of the collector", "collector", newer, older},
		{"an upgrade of the agent", "agent", newer, newer},
		{"a downgrade of the collector", "collector", older, newer},
		{"a downgrade of the agent", "agent", older, older},
	} {
		m.survives(change.what, host, change.agent, func() {
			m.install(change.part, change.version)
			if got := m.run("wacht-"+change.part, "--version"); !strings.Contains(got, "v"+change.version) {
				m.t.Errorf("after %s there is %s", change.what, got)
			}
			m.await("the collector", func() bool { return m.active("wacht-collector.service") })
		})
		if m.read("/etc/wacht/agent.yaml")+m.read("/etc/wacht/collector.yaml") != config {
			m.t.Errorf("%s changes the configuration", change.what)
		}
	}
}

// staysDisabled demands that an upgrade does not start what somebody disabled.
func (m *machine) staysDisabled(host string) {
	m.t.Helper()
	m.run("systemctl", "disable", "--now", "wacht-agent.service")
	m.install("agent", newer)
	if m.active("wacht-agent.service") {
		m.t.Error("an upgrade starts an agent that is disabled")
	}
	m.survives("being enabled again", host, newer, func() { m.run("systemctl", "enable", "--now", "wacht-agent.service") })
}

// comesBack demands that a removed agent leaves its state, and finds it again.
func (m *machine) comesBack(host string) {
	m.t.Helper()
	m.survives("being installed again", host, older, func() {
		m.run("apt-get", "remove", "--yes", "wacht-agent")
		if m.has("/usr/bin/wacht-agent") || m.active("wacht-agent.service") {
			m.t.Error("a removed agent is still there")
		}
		m.install("agent", older)
	})
}

// joinsByFile joins with answers that an image was made with, while no collector could
// be reached at first.
func (m *machine) joinsByFile() {
	m.t.Helper()
	m.run("apt-get", "purge", "--yes", "wacht-agent")
	if m.has("/var/lib/wacht-agent") || m.has("/etc/wacht/agent.yaml") {
		m.t.Error("a purged agent leaves its state or configuration")
	}
	hosts, token := m.hosts(), m.token()
	m.run("systemctl", "stop", "wacht-collector.service")
	m.write("/etc/wacht/join.env", "WACHT_COLLECTOR=127.0.0.1\nWACHT_TOKEN="+token+"\n", 0o600)
	if told := m.install("agent", older); !strings.Contains(told, "tries again") {
		m.t.Errorf("the package does not tell that the joining failed: %s", told)
	}
	m.run("systemctl", "start", "wacht-collector.service")
	m.run("systemctl", "restart", "wacht-agent-join.service")
	m.reports(older)
	if m.has("/etc/wacht/join.env") || m.hosts() != hosts+1 {
		m.t.Errorf("after joining by file there are %d hosts, %d before", m.hosts(), hosts)
	}
}

// joinsByCommand joins with the command that the package prints.
func (m *machine) joinsByCommand() {
	m.t.Helper()
	m.run("apt-get", "purge", "--yes", "wacht-agent")
	var command string
	for line := range strings.Lines(m.install("agent", older)) {
		if strings.Contains(line, " enroll ") {
			command = strings.TrimSpace(line)
		}
	}
	if m.active("wacht-agent.service") {
		m.t.Error("an agent that has not joined runs")
	}
	command = strings.NewReplacer("HOST", "127.0.0.1", "TOKEN", m.token()).Replace(command)
	asRoot := strings.TrimPrefix(command, "runuser -u wacht-agent -- ")
	if out, err := m.try("sh", "-c", asRoot); err == nil || !strings.Contains(out, "runuser -u wacht-agent --") {
		m.t.Errorf("root joins in the service's folder: %s", out)
	}
	m.run("sh", "-c", command)
	m.reports(older)
}

// files lists all files, but those of the kernel and of this boot.
func (m *machine) files() []string {
	m.t.Helper()
	return strings.Fields(m.run("find", "/", "-xdev", "-not", "-path", "/tmp/*", "-not", "-path", "/var/tmp/*"))
}

// mayStay are the files that packages in general leave: logs, caches, what apt and dpkg
// keep for themselves, and older versions of the list of users.
var mayStay = []string{"/var/log/", "/var/cache/", "/var/lib/apt/", "/var/lib/dpkg/", "/var/lib/systemd/", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock"}

func (m *machine) nothingLeft(before []string) {
	m.t.Helper()
	for _, path := range m.files() {
		stays := slices.ContainsFunc(mayStay, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		if strings.Contains(path, "wacht") || !slices.Contains(before, path) && !stays {
			m.t.Errorf("after the purge there is %s", path)
		}
	}
	for _, unit := range []string{"wacht-agent.service", "wacht-agent.path", "wacht-collector.service", "wacht-smart-helper.socket"} {
		if got := m.property(unit, "LoadState"); got != "not-found" {
			m.t.Errorf("after the purge %s is %s", unit, got)
		}
	}
}
