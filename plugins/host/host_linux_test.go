package host_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins/host"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

// The programs are built once, as authors do: with the race detector one would take
// more memory than a plugin may have.
const builtEnv = "WACHT_TEST_BUILT"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wacht-host-test-")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = os.Setenv(builtEnv, dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func build(dir string) error {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-o", dir, "./testdata/hostile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the hostile plugin: %w\n%s", err, out)
	}
	return nil
}

// rooted needs root: only then has a plugin a user of its own, whose processes the
// limit counts.
func rooted(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
}

// hostile allows the hostile plugin, with the limits that hold in an agent.
func hostile(t testing.TB) host.Plugin {
	t.Helper()
	rooted(t)
	data, err := os.ReadFile(filepath.Join(os.Getenv(builtEnv), "hostile"))
	if err != nil {
		t.Fatal(err)
	}
	p := plugintest.Allow(t, "hostile", data)
	p.MaxMemory, p.MaxProcesses, p.MaxCPU = host.DefaultMaxMemory, host.DefaultMaxProcesses, host.DefaultMaxCPU
	return host.WithUser(p, ownUser())
}

// ownUser is the number of a user that only this program's plugins have.
func ownUser() int { return 200 + os.Getpid()%4000 }

// run has a check do something, for as long as it may take.
func run(t testing.TB, c checks.Check, within time.Duration, given checks.Params) (checks.Run, error) {
	t.Helper()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.Run(ctx, &checks.Env{Params: params})
}

func mode(name string) checks.Params { return checks.Params{"mode": {name}} }

// patience is longer than anything here takes.
const patience = time.Minute

// behaves waits until the plugin does what it should again.
func behaves(t testing.TB, c checks.Check) checks.Run {
	t.Helper()
	for began := time.Now(); ; {
		r, err := run(t, c, patience, mode("behave"))
		if err == nil {
			return r
		}
		if time.Since(began) > patience || !strings.Contains(err.Error(), "it is started again in") {
			t.Fatalf("the plugin does not come back: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Whatever a plugin does, its run has an error that says what, and the next is well.
func TestHostilePlugins(t *testing.T) {
	secret := openSecret(t)
	for _, tt := range []struct {
		mode, error string
		within      time.Duration
		again       bool // the same process goes on
	}{
		{mode: "allocate", error: "out of memory", within: patience},
		{mode: "print", error: "to its output", within: patience},
		{mode: "shout", error: "to its output", within: patience},
		{mode: "crash", error: "exit status 3: no luck today", within: patience},
		{mode: "late", error: "did not answer and was ended", within: time.Second},
		{mode: "fork", within: 2 * time.Second}, // it hits its limit, or does not answer
		{mode: "flood", error: "answers with more than 4194304 bytes", within: patience, again: true},
		{mode: "many", error: "2001 results; at most 2000", within: patience, again: true},
		{mode: "read", error: "permission denied", within: patience, again: true},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			h := plugintest.Host(t, host.Options{Plugins: []host.Plugin{hostile(t)}, Hidden: []string{filepath.Dir(secret)}})
			c := h.Checks()[0]
			before := behaves(t, c)
			params := mode(tt.mode)
			params["path"] = []string{secret}
			_, err := run(t, c, tt.within, params)
			if err == nil || !strings.Contains(err.Error(), tt.error) {
				t.Fatalf("the error must hold %q, but is: %v", tt.error, err)
			}
			after := behaves(t, c)
			same := before.Results[0].Metrics[0].Value == after.Results[0].Metrics[0].Value
			if same != tt.again {
				t.Errorf("that it is the same process is %v", same)
			}
			if n := strangers(t); n > 1 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

// openSecret is a file that everybody may read, were it not hidden.
func openSecret(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wacht-spool-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "spool")
	if err := errors.Join(os.WriteFile(path, []byte("private"), 0o644), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsNotHiddenIsRead(t *testing.T) {
	c := plugintest.Host(t, host.Options{Plugins: []host.Plugin{hostile(t)}}).Checks()[0]
	params := mode("read")
	params["path"] = []string{openSecret(t)}
	if r, err := run(t, c, patience, params); err != nil || r.Results[0].Summary != "it reads private" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// strangers counts the processes of the plugin's own user.
func strangers(t *testing.T) int {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, folder := range folders {
		var st unix.Stat_t
		if unix.Stat(folder, &st) == nil && int(st.Uid) == host.FirstUser+ownUser() {
			n++
		}
	}
	return n
}

// A plugin that hangs or was ended holds up neither the other one nor its own next run.
func TestOthersGoOn(t *testing.T) {
	other := hostile(t)
	h := plugintest.Host(t, host.Options{Plugins: []host.Plugin{hostile(t), other}})
	bad, good := h.Checks()[0], h.Checks()[1]
	behaves(t, bad)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := bad.Run(ctx, &checks.Env{Params: mode("late")})
		ended <- err
	}()
	for range 10 {
		behaves(t, good)
		behaves(t, bad) // beside its own run that hangs
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is cancelled: %v", err)
	}
	behaves(t, bad)
}

// What does not become a plugin is a check that says why.
func TestNoPlugin(t *testing.T) {
	for name, tt := range map[string]struct{ script, error string }{
		"speaks otherwise": {"echo hello; exec sleep 1000", `its first line is no handshake as plugin.proto says, but "hello"`},
		"is too new":       {"echo '1|2|unix|/x|grpc|AAAA'; exec sleep 1000", "it speaks version 2 of the plugin protocol and this agent 1: update the agent"},
		"ends at once":     {"echo no such luck >&2; exit 1", "it ended by itself: exit status 1: no such luck"},
		"ends well":        {"exit 0", "it ended by itself: with exit code 0"},
		"shouts":           {"exec yes xxxxxxxxxxxxxxx >&2", "to its output"},
		"has no end":       {"exec tr '\\0' x </dev/zero", ""},
		"has no proof":     {"echo \"1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc|AAAA\"; exec sleep 1000", "its certificate: "},
	} {
		t.Run(name, func(t *testing.T) {
			p := plugintest.Allow(t, "odd", []byte("#!/bin/sh\n"+tt.script+"\n"))
			c := plugintest.Host(t, host.Options{Plugins: []host.Plugin{p}}).Checks()[0]
			found, err := c.Discover(t.Context(), &checks.Env{})
			if err != nil || len(found) != 1 || found[0].Name != "" {
				t.Errorf("the check must be there to be run, but: %v, %v", found, err)
			}
			_, err = run(t, c, patience, nil)
			if err == nil || !strings.Contains(err.Error(), tt.error) || !strings.Contains(err.Error(), "it is started again in") {
				t.Errorf("the error must hold %q, but is: %v", tt.error, err)
			}
		})
	}
}

// A refusal says what is wrong with the file.
func TestRefused(t *testing.T) {
	rooted(t)
	good := []byte("#!/bin/sh\n")
	for name, tt := range map[string]struct {
		spoil func(*host.Plugin) error
		error string
	}{
		"changed":      {func(p *host.Plugin) error { return os.WriteFile(p.Path, []byte("#!/bin/sh\nexit\n"), 0o600) }, "its SHA-256 is"},
		"gone":         {func(p *host.Plugin) error { return os.Remove(p.Path) }, "no such file"},
		"writable":     {func(p *host.Plugin) error { return os.Chmod(p.Path, 0o777) }, "everybody can write to"},
		"folder":       {func(p *host.Plugin) error { return os.Chmod(filepath.Dir(p.Path), 0o777) }, "everybody can write to"},
		"not root's":   {func(p *host.Plugin) error { return os.Chown(p.Path, 60999, 60999) }, "belongs to user 60999"},
		"no such user": {func(p *host.Plugin) error { p.User = "nobody-of-that-name"; return nil }, "unknown user nobody-of-that-name"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plugintest.Allow(t, "odd", good)
			if err := tt.spoil(&p); err != nil {
				t.Fatal(err)
			}
			c := plugintest.Host(t, host.Options{Plugins: []host.Plugin{p}}).Checks()[0]
			if _, err := run(t, c, patience, nil); err == nil || !strings.Contains(err.Error(), tt.error) {
				t.Errorf("the error must hold %q, but is: %v", tt.error, err)
			}
		})
	}
}

// A file that is swapped after it was verified changes nothing, until it would be
// started again: then it is refused, under the instances that were there.
func TestSwapped(t *testing.T) {
	p := hostile(t)
	known := filepath.Join(plugintest.Folder(t), "known")
	first := plugintest.Host(t, host.Options{Plugins: []host.Plugin{p}, KnownDir: known})
	c := first.Checks()[0]
	if found, err := c.Discover(t.Context(), &checks.Env{}); err != nil || len(found) != 1 {
		t.Fatalf("discovered %v, %v", found, err)
	}
	if err := os.WriteFile(p.Path, []byte("#!/bin/sh\necho other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	behaves(t, c)
	_, _ = run(t, c, patience, mode("crash"))
	for began := time.Now(); ; {
		_, err := run(t, c, patience, mode("behave"))
		if err != nil && strings.Contains(err.Error(), "its SHA-256 is") {
			break
		}
		if err == nil || time.Since(began) > patience {
			t.Fatalf("the other program must be refused, but: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	first.Close()

	// The next agent knows the check without starting it, also where it may not run.
	second := plugintest.Host(t, host.Options{Plugins: []host.Plugin{p}, KnownDir: known})
	if c = second.Checks()[0]; len(c.Spec().Parameters) == 0 || len(second.Untold()) > 0 {
		t.Errorf("the declaration is forgotten: %+v", c.Spec())
	}
	p.SHA256 = sha256.Sum256([]byte("another version"))
	third := plugintest.Host(t, host.Options{Plugins: []host.Plugin{p}, KnownDir: known})
	if found, err := third.Checks()[0].Discover(t.Context(), &checks.Env{}); err != nil || len(found) != 1 {
		t.Errorf("discovered %v, %v", found, err)
	}
	if _, err := run(t, third.Checks()[0], patience, nil); err == nil || !strings.Contains(err.Error(), "its SHA-256 is") {
		t.Errorf("the refusal must be told, but: %v", err)
	}
}

// A process that nobody calls is stopped, and started again when it is needed.
func TestIdle(t *testing.T) {
	h := plugintest.Host(t, host.Options{Plugins: []host.Plugin{hostile(t)}, IdleAfter: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	c := h.Checks()[0]
	before := behaves(t, c).Results[0].Metrics[0].Value
	for strangers(t) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if after := behaves(t, c).Results[0].Metrics[0].Value; after == before {
		t.Error("the process was not stopped")
	}
	if err := h.Failures(); len(err) > 0 {
		t.Errorf("to be stopped is no failure: %v", err)
	}
}

// What ends the host ends runs that are under way.
func TestClose(t *testing.T) {
	h := plugintest.Host(t, host.Options{Plugins: []host.Plugin{hostile(t)}})
	c := h.Checks()[0]
	behaves(t, c)
	ended := make(chan error)
	go func() {
		_, err := c.Run(t.Context(), &checks.Env{Params: mode("late")})
		ended <- err
	}()
	h.Close()
	if err := <-ended; err == nil {
		t.Error("a run ended well without its plugin")
	}
	if _, err := run(t, c, patience, nil); err == nil || !strings.Contains(err.Error(), "the agent stops") {
		t.Errorf("after the end: %v", err)
	}
}

// BenchmarkOthersBesideHostile measures how late the run of a check that does nothing
// is, in the agent and in a plugin, while another plugin does what it must not. It is
// late by a second at most.
func BenchmarkOthersBesideHostile(b *testing.B) {
	const every, runs = 50 * time.Millisecond, 60
	for _, name := range []string{"behave", "fork", "allocate", "print", "shout", "flood", "many", "late", "crash"} {
		b.Run(name, func(b *testing.B) {
			h := plugintest.Host(b, host.Options{Plugins: []host.Plugin{hostile(b), hostile(b)}})
			bad, good := h.Checks()[0], h.Checks()[1]
			behaves(b, good)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for ctx.Err() == nil {
					one, stop := context.WithTimeout(ctx, 2*time.Second)
					_, _ = bad.Run(one, &checks.Env{Params: mode(name)})
					stop()
				}
			}()
			var inAgent, inPlugin time.Duration
			for b.Loop() {
				began := time.Now()
				for i := range runs {
					planned := began.Add(time.Duration(i) * every)
					time.Sleep(time.Until(planned))
					inAgent = max(inAgent, time.Since(planned))
					behaves(b, good)
					inPlugin = max(inPlugin, time.Since(planned))
				}
			}
			cancel()
			<-ended
			if worst := max(inAgent, inPlugin); worst > time.Second {
				b.Errorf("a run was late by %v", worst)
			}
			b.ReportMetric(float64(inAgent.Milliseconds()), "ms-late-in-agent")
			b.ReportMetric(float64(inPlugin.Milliseconds()), "ms-late-in-plugin")
			b.ReportMetric(0, "ns/op")
		})
	}
}
