package e2e

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent"
	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// server is a collector's folder and program.
type server struct {
	collectortest.Client
	*program

	t           testing.TB
	config      string // its file
	web, agents string
}

// options of a server.
type options struct {
	policy string // YAML of a layer file
	config string // more of the collector's file
	data   string // the data folder; "" makes one
}

// serve runs a collector.
func serve(t testing.TB, o options) *server {
	t.Helper()
	dir := t.TempDir()
	if o.data == "" {
		o.data = filepath.Join(dir, "data")
	}
	s := &server{t: t, config: filepath.Join(dir, "collector.yaml"), web: "127.0.0.1:0", agents: "127.0.0.1:0"}
	s.DataDir = o.data
	write(t, filepath.Join(dir, "policy", "test.yaml"), o.policy)
	write(t, s.config, fmt.Sprintf("data_dir: %s\npolicy_dir: policy\n%s", o.data, o.config))
	s.start()
	return s
}

// start starts the collector, at the addresses that it had before.
func (s *server) start() {
	s.t.Helper()
	s.program = launch(s.t, "wacht-collector", "serve", "--config", s.config, "--web", s.web, "--agents", s.agents, "--log-format", "json")
	s.says("the collector is ready")
	for line := range strings.Lines(s.log.String()) {
		var at struct{ Msg, Web, Agents string }
		if json.Unmarshal([]byte(line), &at) == nil && at.Msg == "the collector is ready" {
			s.web, s.agents = at.Web, at.Agents
		}
	}
	s.WebAddr = s.web
}

// order runs a command of wacht-collector on the server's folder.
func (s *server) order(args ...string) string {
	s.t.Helper()
	return must(s.t, "wacht-collector", append(args, "--data-dir", s.DataDir)...)
}

// token makes a joining token.
func (s *server) token() string {
	s.t.Helper()
	return s.order("token", "create", "--customer", "example", "--site", "lab")
}

// incidents are all about an item, or all there are.
func (s *server) incidents(item string) []collectortest.Incident {
	s.t.Helper()
	all, err := s.Incidents(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var out []collectortest.Incident
	for _, in := range all {
		if item == "" || in.Item == item {
			out = append(out, in)
		}
	}
	return out
}

// host is a host's newest view.
func (s *server) host(id string) collectortest.Host {
	s.t.Helper()
	h, err := s.Host(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// finding says whether the collector noticed something about a host.
func (s *server) finding(id, text string) bool {
	s.t.Helper()
	for _, f := range s.host(id).Findings {
		if strings.Contains(f.Text, text) {
			return true
		}
	}
	return false
}

// figure is one of the collector's own metrics.
func (s *server) figure(name string) float64 {
	s.t.Helper()
	all, err := s.Metrics(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return all[name]
}

// machine is a machine that has joined: a state folder with the agent's file.
type machine struct {
	*program

	t      testing.TB
	state  string
	config string
	host   string // its id
}

// only is an agent's file that forbids all but some checks.
func only(names ...string) string {
	var rest []string
	for _, spec := range agent.Specs(agent.Options{}) {
		if !slices.Contains(names, spec.Name) {
			rest = append(rest, spec.Name)
		}
	}
	return "forbid: [" + strings.Join(rest, ", ") + "]\n"
}

// join makes a machine of a state folder, "" for a new one, and joins it.
func join(t testing.TB, s *server, state, config string) *machine {
	t.Helper()
	dir := t.TempDir()
	if state == "" {
		state = filepath.Join(dir, "state")
	}
	m := &machine{t: t, state: state, config: filepath.Join(dir, "agent.yaml")}
	write(t, m.config, config)
	must(t, "wacht-agent", "enroll", "--collector", s.agents, "--token", s.token(), "--state-dir", m.state, "--config", m.config)
	m.host = m.hostID()
	return m
}

// hostID is that of the identity in the state folder.
func (m *machine) hostID() string {
	m.t.Helper()
	rest, err := os.ReadFile(filepath.Join(m.state, "identity.pem"))
	if err != nil {
		m.t.Fatal(err)
	}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			m.t.Fatal(err)
		}
		id, err := agentpb.HostID(cert)
		if err != nil {
			m.t.Fatal(err)
		}
		return id
	}
	m.t.Fatal("the identity has no certificate")
	return ""
}

// run starts the agent.
func (m *machine) run() {
	m.t.Helper()
	m.program = launch(m.t, "wacht-agent", "run", "--config", m.config, "--state-dir", m.state, "--log-format", "json")
}

// status asks the running agent; an agent that does not answer yet has none.
func (m *machine) status() agent.Status {
	m.t.Helper()
	st, err := agent.AskStatus(m.t.Context(), agent.Options{ConfigFile: m.config, StateDir: m.state})
	if err != nil {
		return agent.Status{}
	}
	return *st
}

// connected waits until the agent has a stream.
func (m *machine) connected() {
	m.t.Helper()
	await(m.t, "the agent's connection", func() bool {
		if !m.running() {
			m.t.Fatalf("the agent has ended: %v\n%s", m.err, tail(m.log.String()))
		}
		return m.status().Connected
	})
}

// level is what the collector says of an item, "" while it knows none.
func (s *server) level(host, item string) string {
	s.t.Helper()
	for _, c := range s.host(host).Checks {
		if c.Item == item {
			return c.Level.String()
		}
	}
	return ""
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
