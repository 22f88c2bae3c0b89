package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sh runs a script with the system's shell.
func sh(ctx context.Context, opts sandbox.Options, script string, args ...string) (checks.Output, error) {
	return sandbox.New(opts).Exec(ctx, checks.Command{Path: "/bin/sh", Args: append([]string{"-c", script, "sh"}, args...)})
}

func TestExec(t *testing.T) {
	tests := []struct {
		name, script  string
		args          []string
		stdin         string
		stdout, error string
		code          int
	}{
		{name: "exit codes are no errors", script: "echo out; echo err >&2; exit 3", stdout: "out\n", error: "err\n", code: 3},
		{name: "arguments stay apart", script: `printf '%s|' "$@"`, args: []string{"a b", "$HOME", "; true", ""}, stdout: "a b|$HOME|; true||"},
		{name: "input", script: "cat", stdin: "given", stdout: "given"},
		{name: "input that nobody reads", script: "true", stdin: strings.Repeat("x", 1<<20)},
		{name: "no input", script: "cat"},
		{name: "folder", script: "pwd", stdout: "/\n"},
		{name: "the leader ends before what it started", script: "sleep 1000 & echo gone", stdout: "gone\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := checks.Command{Path: "/bin/sh", Args: append([]string{"-c", tt.script, "sh"}, tt.args...)}
			if tt.stdin != "" {
				cmd.Stdin = []byte(tt.stdin)
			}
			out, err := sandbox.New(sandbox.Options{}).Exec(t.Context(), cmd)
			if err != nil {
				t.Fatal(err)
			}
			if string(out.Stdout) != tt.stdout || string(out.Stderr) != tt.error || out.ExitCode != tt.code {
				t.Errorf("got %q, %q, exit %d; want %q, %q, exit %d", out.Stdout, out.Stderr, out.ExitCode, tt.stdout, tt.error, tt.code)
			}
		})
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("WACHT_SECRET", "do not pass on")
	out, err := sandbox.New(sandbox.Options{}).Exec(t.Context(), checks.Command{Path: "/usr/bin/env"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "LC_ALL=C\nLANG=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
	if string(out.Stdout) != want {
		t.Errorf("the environment is\n%s\nbut should be\n%s", out.Stdout, want)
	}
}

func TestOutputIsLimited(t *testing.T) {
	for _, script := range []string{"yes", "yes >&2", "trap '' PIPE; yes; echo x; exit 0", "head -c 1001 /dev/zero; exit 1"} {
		_, err := sh(t.Context(), sandbox.Options{MaxOutput: 1000}, script)
		if err == nil || !strings.Contains(err.Error(), "limit of 1000 bytes") {
			t.Errorf("%s: the error must name the limit, but is: %v", script, err)
		}
	}
	if out, err := sh(t.Context(), sandbox.Options{MaxOutput: 1000}, "head -c 1000 /dev/zero"); err != nil || len(out.Stdout) != 1000 {
		t.Errorf("output of the limit's own size: %d bytes, %v", len(out.Stdout), err)
	}
}

// A descendant that keeps the output open must neither outlive the group nor hold
// up the caller. The script says when it is running, through a named pipe.
func TestGroupIsKilledWhenContextEnds(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"leader":     `echo $$ >"$1"; exec sleep 1000`,
		"grandchild": `(sleep 1000 & echo $! >"$1"; wait) & wait`,
		"stubborn":   `trap '' TERM INT HUP; echo $$ >"$1"; while :; do sleep 1000; done`,
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(dir, name)
			makePipe(t, pipe)
			ctx, cancel := context.WithCancel(t.Context())
			var pid string
			go func() {
				data, _ := os.ReadFile(pipe)
				pid = strings.TrimSpace(string(data))
				cancel()
			}()
			_, err := sh(ctx, sandbox.Options{}, script, pipe)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error must be the context's, but is: %v", err)
			}
			if runs(t, pid) {
				t.Errorf("process %s still runs", pid)
			}
		})
	}
}

func TestWhatTheLeaderLeftIsKilled(t *testing.T) {
	out, err := sh(t.Context(), sandbox.Options{}, `sleep 1000 & echo $!`)
	if err != nil {
		t.Fatal(err)
	}
	if pid := strings.TrimSpace(string(out.Stdout)); runs(t, pid) {
		t.Errorf("process %s still runs", pid)
	}
}

// What leaves the group can't be found again, but must not hold up the caller.
func TestDescendantOutsideTheGroup(t *testing.T) {
	out, err := sh(t.Context(), sandbox.Options{}, `setsid sh -c 'sleep 3' & echo done`)
	if err != nil || string(out.Stdout) != "done\n" {
		t.Errorf("got %q, %v", out.Stdout, err)
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	<-ctx.Done()
	if _, err := sh(ctx, sandbox.Options{}, "true"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error must be the deadline's, but is: %v", err)
	}
}

func TestEndedBySignal(t *testing.T) {
	_, err := sh(t.Context(), sandbox.Options{}, "kill -SEGV $$")
	if err == nil || !strings.Contains(err.Error(), "running /bin/sh: signal: segmentation fault") {
		t.Errorf("the error must name the signal, but is: %v", err)
	}
}

func TestLimitsOfUse(t *testing.T) {
	out, err := sh(t.Context(), sandbox.Options{MaxMemory: 1 << 30},
		"while [ $(ulimit -v) = unlimited ]; do :; done; ulimit -c; ulimit -t; ulimit -v")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out.Stdout), "0\n60\n1048576\n"; got != want {
		t.Errorf("core, processor and memory limits are %q, not %q", got, want)
	}
}
