package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
	"github.com/wacht-io/wacht/checks"
)

// fake is a check whose discovery and runs tests decide.
type fake struct {
	spec *checks.Spec
	mu   sync.Mutex
	find []checks.Instance
	err  error
	run  func(context.Context, *checks.Env) (checks.Run, error)
}

func (f *fake) Spec() *checks.Spec { return f.spec }

func (f *fake) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find, f.err
}

func (f *fake) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if f.run != nil {
		return f.run(ctx, env)
	}
	return checks.Run{Complete: true, Results: []checks.Result{{Item: "/", Summary: "fine"}}}, nil
}

func newFake(t *testing.T, name string, find ...checks.Instance) *fake {
	t.Helper()
	spec, err := checks.ParseSpec(fmt.Appendf(nil, `
name: %s
summary: s
interval: 60s
timeout: 10s
systems: [linux, windows, darwin]
parameters: [{name: path, summary: s, type: path, local: true}, {name: n, summary: s, type: int}]
`, name))
	if err != nil {
		t.Fatal(err)
	}
	return &fake{spec: spec, find: find}
}

// machine is a machine that has joined, with an agent that can be started on it.
type machine struct {
	t    *testing.T
	c    *uplinktest.Collector
	opts Options
	host string
	*Agent
}

func newMachine(t *testing.T, c *uplinktest.Collector, all ...checks.Check) *machine {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	m := &machine{t: t, c: c, opts: Options{
		ConfigFile: file, StateDir: filepath.Join(dir, "state"), Collector: "collector:1", Dial: c.Dial, NoStatus: true, BootID: "b", Version: "1.2.3",
		Machine: &agentpb.Machine{Hostname: "h"}, Leaving: func() agentpb.Goodbye_Reason { return agentpb.Goodbye_UPGRADE },
		Checks:      func(func(context.Context) map[string]float64) []checks.Check { return all },
		Declaration: func(name string) ([]byte, error) { return []byte("name: " + name), nil },
	}}
	m.file("")
	joined, err := Enroll(t.Context(), m.opts, c.Token(), false)
	if err != nil {
		t.Fatal(err)
	}
	m.host = joined.HostID
	return m
}

// file writes the machine's own file.
func (m *machine) file(text string) {
	m.t.Helper()
	if err := os.WriteFile(m.opts.ConfigFile, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) start() {
	m.t.Helper()
	var err error
	if m.Agent, err = New(m.opts); err != nil {
		m.t.Fatal(err)
	}
	m.Start()
	m.t.Cleanup(func() { _ = m.Stop() })
}

func (m *machine) stop() {
	m.t.Helper()
	if err := m.Stop(); err != nil {
		m.t.Error(err)
	}
}

// checksSeen returns what arrived since run from, as check/instance.
func (m *machine) seen(from int) []string {
	synctest.Wait()
	var out []string
	for _, r := range m.c.Host(m.host).Runs[from:] {
		name := strings.TrimSuffix(r.Check+"/"+r.Instance, "/")
		if len(r.Items) == 0 {
			name = "-" + name
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestDiscoverRunStreamAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		m := newMachine(t, c, newFake(t, "disk", checks.Instance{}), newFake(t, "http"))
		m.start()
		time.Sleep(10 * time.Minute)
		if got := m.seen(0); !slices.Equal(got, []string{"disk"}) {
			t.Errorf("ran %v", got)
		}
		st := m.Status()
		if !st.Connected || st.Customer != "example" || len(st.Tasks) != 1 || st.Tasks[0].Status != "ok" || st.Spool.Runs != 0 || st.Version != "1.2.3" {
			t.Errorf("status %+v", st)
		}
		if figures := m.figures(t.Context()); len(figures) != 5 || figures["certificate_left_seconds"] < 86400 {
			t.Errorf("figures %v", figures)
		}
		m.stop()
		got := c.Host(m.host)
		if got.Goodbye.GetReason() != agentpb.Goodbye_UPGRADE || len(got.Runs) < 10 || len(got.Hello.GetChecks()) != 2 {
			t.Errorf("goodbye %v, %d runs, hello %v", got.Goodbye, len(got.Runs), got.Hello)
		}
	})
}

// A policy is applied, answered, kept, and in force after a restart without collector.
func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Policy = &agentpb.Policy{Revision: 4, Tasks: []*agentpb.Task{
			{Check: "disk", IntervalMs: 10_000},
			{Check: "http", Instance: "shop"},
			{Check: "http", Instance: "stolen", Params: []*agentpb.Param{{Name: "path", Values: []string{"/etc/shadow"}}}},
		}}
		m := newMachine(t, c, newFake(t, "disk", checks.Instance{}), newFake(t, "http"))
		m.start()
		time.Sleep(10 * time.Minute)
		if got := m.seen(0); !slices.Equal(got, []string{"disk", "http/shop"}) {
			t.Errorf("ran %v", got)
		}
		answers := c.Host(m.host).Answers
		if len(answers) != 1 || answers[0].GetRevision() != 4 || answers[0].GetTasks()[2].GetApplied() || !answers[0].GetTasks()[1].GetApplied() {
			t.Errorf("answers %v", answers)
		}
		m.stop()
		c.Set(func(c *uplinktest.Collector) { c.Down = true })
		m.start()
		time.Sleep(time.Minute)
		if st := m.Status(); st.PolicyRevision != 4 || len(st.Tasks) != 2 || st.Tasks[0].IntervalSeconds != 10 || st.Spool.Runs < 6 {
			t.Errorf("without collector: %+v", st)
		}
		c.Set(func(c *uplinktest.Collector) { c.Down = false })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := c.Host(m.host); got.Hello.GetPolicyRevision() != 4 || len(got.Answers) != 1 {
			t.Errorf("hello %v, answers %v", got.Hello, got.Answers)
		}
	})
}

// What runs no longer after a restart is said to have vanished; what only could not
// be looked for is not.
func TestVanishedTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		disk, smart, ping := newFake(t, "disk", checks.Instance{}), newFake(t, "smart", checks.Instance{Name: "sda"}), newFake(t, "ping", checks.Instance{})
		m := newMachine(t, c, disk, smart, ping)
		m.start()
		time.Sleep(3 * time.Minute)
		m.stop()
		before := len(c.Host(m.host).Runs)
		m.file("forbid: [ping]")
		smart.err = errors.New("busy")
		m.start()
		time.Sleep(3 * time.Minute)
		if got := m.seen(before); !slices.Equal(got, []string{"-ping", "disk"}) {
			t.Errorf("after a restart: %v", got)
		}
		before = len(c.Host(m.host).Runs)
		disk.mu.Lock()
		disk.find = nil
		disk.mu.Unlock()
		time.Sleep(15 * time.Minute)
		if got := m.seen(before); !slices.Equal(got, []string{"-disk", "disk"}) {
			t.Errorf("after the disk went: %v", got)
		}
	})
}

func TestCloneGetsItsOwnPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Policy = &agentpb.Policy{Revision: 4, Tasks: []*agentpb.Task{{Check: "disk", IntervalMs: 10_000}}}
		m := newMachine(t, c, newFake(t, "disk", checks.Instance{}))
		m.start()
		time.Sleep(time.Minute)
		m.stop()
		clone := *m
		clone.opts.StateDir = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(clone.opts.StateDir, os.DirFS(m.opts.StateDir)); err != nil {
			t.Fatal(err)
		}
		m.start()
		time.Sleep(time.Minute)
		clone.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		id, err := enroll.Load(clone.opts.StateDir)
		if err != nil || id.HostID == m.host || m.Status().Host != m.host || clone.Status().Host != id.HostID {
			t.Fatalf("the clone is %v, %v", id, err)
		}
		if got := c.Host(id.HostID); got.Hello.GetPolicyRevision() != 0 || len(got.Answers) != 1 || len(got.Runs) == 0 {
			t.Errorf("the clone said %v", got.Hello)
		}
	})
}

func TestEnroll(t *testing.T) {
	c := uplinktest.New(t)
	m := newMachine(t, c)
	if _, err := Enroll(t.Context(), m.opts, c.Token(), false); !errors.Is(err, ErrJoined) {
		t.Errorf("joining twice: %v", err)
	}
	if joined, err := Enroll(t.Context(), m.opts, c.Token(), true); err != nil || joined.HostID == m.host {
		t.Errorf("joining with force: %+v, %v", joined, err)
	}
	if _, err := Enroll(t.Context(), m.opts, "wacht1_x", true); err == nil || !strings.Contains(err.Error(), "copy it again") {
		t.Errorf("a mistyped token: %v", err)
	}
	token := c.Token()
	for range 2 {
		_, err := Enroll(t.Context(), m.opts, token, true)
		if err != nil && !strings.Contains(err.Error(), "the collector refuses: the token is unknown, was used") {
			t.Error(err)
		}
	}
	c.Down = true
	if _, err := Enroll(t.Context(), m.opts, c.Token(), true); err == nil || !strings.Contains(err.Error(), "the collector at collector:1 can't be reached") {
		t.Errorf("a collector that is down: %v", err)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	opts := Options{StateDir: t.TempDir(), Checks: func(func(context.Context) map[string]float64) []checks.Check { return nil }}
	if _, err := New(opts); !errors.Is(err, enroll.ErrNotEnrolled) {
		t.Errorf("New = %v", err)
	}
	opts.ConfigFile = filepath.Join(opts.StateDir, "none.yaml")
	if _, err := New(opts); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("New = %v", err)
	}
}

func TestCheckOnce(t *testing.T) {
	f := newFake(t, "disk", checks.Instance{Name: "a"}, checks.Instance{Name: "b"})
	opts := Options{StateDir: t.TempDir(), Checks: func(func(context.Context) map[string]float64) []checks.Check { return []checks.Check{f} }}
	got, err := CheckOnce(t.Context(), opts, "disk", nil)
	if err != nil || len(got) != 2 || got[1].Run.Results[0].Item != "b /" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := CheckOnce(t.Context(), opts, "disk", checks.Params{"n": {"1"}}); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := CheckOnce(t.Context(), opts, "disk", checks.Params{"n": {"x"}}); !errors.Is(err, ErrParams) {
		t.Errorf("wrong parameters: %v", err)
	}
	if _, err := CheckOnce(t.Context(), opts, "dsik", nil); !errors.Is(err, ErrNoCheck) {
		t.Errorf("no such check: %v", err)
	}
}
