package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to come: longer than two waits of
// an agent between attempts to connect, which may be a minute each.
const patience = 3 * time.Minute

// program is one of the programs, running.
type program struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	log  *record
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done
}

// record is what a program writes.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func binary(name string) string { return filepath.Join(os.Getenv(binEnv), name) }

// launch starts one of our programs, which ends with the test at the latest.
func launch(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return launchAt(t, binary(name), args...)
}

// launchAt is launch for any program.
func launchAt(t testing.TB, path string, args ...string) *program {
	t.Helper()
	name := filepath.Base(path)
	// The test's context would end before its clean-up runs.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	p := &program{t: t, name: name, cmd: cmd, log: &record{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(p.log.String()))
		}
	})
	return p
}

func tail(text string) string {
	const enough = 6000
	return text[max(0, len(text)-enough):]
}

func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it as kill -9 does.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends it as Ctrl-C does, and demands that it ends well.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		p.t.Fatalf("%s has ended before: %v\n%s", p.name, p.err, tail(p.log.String()))
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	if p.err != nil {
		p.t.Errorf("%s ended with %v", p.name, p.err)
	}
}

// says waits until the program's log holds a text.
func (p *program) says(text string) {
	p.t.Helper()
	await(p.t, p.name+" saying "+text, func() bool {
		if strings.Contains(p.log.String(), text) {
			return true
		}
		if !p.running() {
			p.t.Fatalf("%s has ended: %v\n%s", p.name, p.err, tail(p.log.String()))
		}
		return false
	})
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// outcome is what a command answers.
type outcome struct {
	stdout, stderr string
	code           int
}

// command runs a program's command to its end.
func command(t testing.TB, name string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary(name), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return outcome{strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()), cmd.ProcessState.ExitCode()}
}

// must is command for one that has to succeed; it answers standard output.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	o := command(t, name, args...)
	if o.code != 0 {
		t.Fatalf("%s %s: exit %d: %s", name, strings.Join(args, " "), o.code, o.stderr)
	}
	return o.stdout
}
