package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrong demands a command's exit code and the one line that a person sees.
func wrong(t *testing.T, o outcome, code int, line string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stderr, line) || strings.Contains(o.stderr, "\n") {
		t.Errorf("exit %d: %s\nwant exit %d and one line with: %s", o.code, o.stderr, code, line)
	}
}

// A token works once, for its time, at the collector that made it.
func TestTokens(t *testing.T) {
	t.Parallel()
	s, other := serve(t, options{}), serve(t, options{})
	dir := t.TempDir()
	enroll := func(name, token string) outcome {
		return command(t, "wacht-agent", "enroll", "--collector", s.agents, "--token", token, "--state-dir", filepath.Join(dir, name))
	}
	token := s.token()
	if o := enroll("first", token); o.code != 0 {
		t.Fatalf("joining: %+v", o)
	}
	const refused = "wacht-agent: enroll: the collector refuses: "
	wrong(t, enroll("second", token), 1, refused+"this token was used already; make a new one with 'wacht-collector token create'")
	brief := s.order("token", "create", "--customer", "example", "--site", "lab", "--ttl", "1s")
	time.Sleep(1100 * time.Millisecond)
	wrong(t, enroll("second", brief), 1, refused+"this token has expired; make a new one with 'wacht-collector token create'")
	wrong(t, enroll("second", other.token()), 1, "the server at this address is not the collector that made the token")
	wrong(t, enroll("second", token[:len(token)-3]), 1, "the joining token is incomplete or was mistyped: copy it again as a whole")
	wrong(t, enroll("first", s.token()), 1, "add --force to replace that identity")
	gone := freeAddress(t)
	wrong(t, command(t, "wacht-agent", "enroll", "--collector", gone, "--token", s.token(), "--state-dir", filepath.Join(dir, "second")),
		1, "the collector at "+gone+" can't be reached")
	if lines := strings.Count(s.order("host", "list"), "\n"); lines != 1 {
		t.Errorf("one machine joined; the list is:\n%s", s.order("host", "list"))
	}
}

// A revoked host is cut off while it is connected, is told so, and stays out.
func TestRevokedHost(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everySecond})
	m := join(t, s, "", only("disk"))
	m.run()
	await(t, "results", func() bool { return m.status().Connected && s.host(m.host).States > 0 })
	began := time.Now()
	s.order("host", "revoke", m.host)
	await(t, "the cut", func() bool { return !m.status().Connected })
	t.Logf("cut off %s after the command began", seconds(time.Since(began)))
	await(t, "the reason", func() bool { return strings.Contains(m.status().Error, "revoked") })
	taken := s.figure("wacht_collector_results_total")
	m.stop()
	m.run()
	await(t, "the reason after a restart", func() bool { return strings.Contains(m.status().Error, "revoked") })
	if now := s.figure("wacht_collector_results_total"); now != taken {
		t.Errorf("%v results of a revoked host were taken", now-taken)
	}
	if list := s.order("host", "list"); !strings.Contains(list, "revoked") {
		t.Errorf("the list is:\n%s", list)
	}
}

// A configuration with an error starts nothing, and names file and line.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "collector.yaml")
	write(t, ours, "role: server\ncolector: msp.example.net\n")
	wrong(t, command(t, "wacht-agent", "run", "--config", ours), 1, "wacht-agent: "+ours+":2: field colector not found")
	write(t, theirs, "data_dir: data\nnotfy: []\n")
	o := command(t, "wacht-collector", "serve", "--config", theirs)
	wrong(t, o, 1, theirs+": line 2: field notfy not found")
	policy := filepath.Join(dir, "policy")
	write(t, filepath.Join(policy, "a.yaml"), "- match: {}\n  rules:\n    disk:\n      space: {critical: \"fre_bytes < 5\"}\n")
	o = command(t, "wacht-collector", "policy", "check", policy)
	wrong(t, o, o.code, "a.yaml:4")
	if o.code == 0 || !strings.Contains(o.stderr, "fre_bytes") || !strings.Contains(o.stderr, "free_bytes") {
		t.Errorf("an unknown metric: exit %d: %s", o.code, o.stderr)
	}
}

// What Prometheus, a load balancer and a person with curl ask for is there.
func TestWebAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everySecond})
	m := join(t, s, "", only("disk", "agent", "memory", "cpu"))
	m.run()
	await(t, "the disk's values", func() bool {
		return strings.Contains(s.fetch("/metrics/hosts/"+m.host), "wacht_disk_free_bytes{")
	})
	for path, want := range map[string]string{
		"/healthz": "", "/readyz": "", "/": "<html", "/metrics": "wacht_collector_results_total",
	} {
		if body := s.fetch(path); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q: %.300s", path, want, body)
		}
	}
	var targets []struct {
		Targets []string
		Labels  map[string]string
	}
	if err := json.Unmarshal([]byte(s.fetch("/sd")), &targets); err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 || targets[0].Targets[0] != s.web || targets[0].Labels["__metrics_path__"] != "/metrics/hosts/"+m.host {
		t.Errorf("/sd is %+v", targets)
	}
	s.lint("/metrics")
	s.lint("/metrics/hosts/" + m.host)
}

// fetch gets a page of the web address.
func (s *server) fetch(path string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.web+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %s", resp.Status, body)
	}
	return string(body)
}

// lint has Debian's promtool judge an exposition.
func (s *server) lint(path string) {
	s.t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		s.t.Skip("promtool is not installed (Debian: apt-get install prometheus)")
	}
	cmd := exec.CommandContext(s.t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(s.fetch(path))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("promtool check metrics of %s: %v\n%s", path, err, out)
	}
}
