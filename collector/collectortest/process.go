package collectortest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector"
)

// childEnv tells a process that it is to be a collector, and how.
const childEnv = "WACHT_COLLECTORTEST_CHILD"

// childOptions is what childEnv holds, in JSON.
type childOptions struct {
	ConfigFile, DataDir, Web, Agents string
	Log                              bool
}

// ready is what a child tells once it serves.
type ready struct {
	Web, Agents, Error string
}

// Process is a collector in a process of its own: the test binary, started again. It
// can be killed, and its memory and processor time are its own.
type Process struct {
	Client

	// AgentsAddr and WebAddr stay the same over Restart.
	AgentsAddr, WebAddr string

	t       testing.TB
	options childOptions
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
}

// Options say how a collector of a test runs.
type Options struct {
	// DataDir is the collector's; "" makes one that goes with the test.
	DataDir string
	// Config is the collector's file, in YAML; "" is an empty one.
	Config string
	// Log shows the collector's log on standard error.
	Log bool
}

// write puts the options' file beside the data folder.
func (o *Options) write(t testing.TB) (dataDir, configFile string) {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	configFile = filepath.Join(t.TempDir(), "collector.yaml")
	if err := os.WriteFile(configFile, []byte(o.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	return o.DataDir, configFile
}

// Spawn starts a collector in a process of its own and waits until it serves. The
// test's TestMain must call Child first. It ends with the test.
func Spawn(t testing.TB, o Options) *Process {
	t.Helper()
	p := &Process{t: t}
	p.options.DataDir, p.options.ConfigFile = o.write(t)
	p.options.Web, p.options.Agents, p.options.Log = "127.0.0.1:0", "127.0.0.1:0", o.Log
	p.start()
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Stop()
		}
	})
	return p
}

func (p *Process) start() {
	p.t.Helper()
	options, err := json.Marshal(p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	answers, theirs, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	// The context of the test would kill it before the test's clean-up runs.
	cmd := exec.CommandContext(context.WithoutCancel(p.t.Context()), self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(options))
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if p.orders, err = cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	_ = theirs.Close()
	p.cmd, p.answers = cmd, bufio.NewReader(answers)
	p.t.Cleanup(func() { _ = answers.Close() })
	p.greet()
}

func (p *Process) greet() {
	p.t.Helper()
	var r ready
	line, err := p.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		p.t.Fatalf("starting a collector: %v", err)
	}
	p.WebAddr, p.AgentsAddr = r.Web, r.Agents
	p.options.Web, p.options.Agents = r.Web, r.Agents
	p.Client = Client{DataDir: p.options.DataDir, WebAddr: r.Web}
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as kill -9 does.
func (p *Process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
	p.cmd = nil
}

// Stop ends the process in order.
func (p *Process) Stop() {
	p.t.Helper()
	_ = p.orders.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("ending a collector: %v", err)
	}
	p.cmd = nil
}

// Restart starts a collector on the folder and addresses of the one that was killed
// or stopped, and waits until it serves.
func (p *Process) Restart() {
	p.t.Helper()
	p.start()
}

// order has the child do something and waits until it is done.
func (p *Process) order(what string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.orders, what); err != nil {
		p.t.Fatal(err)
	}
	answer, err := p.answers.ReadString('\n')
	if answer = strings.TrimSpace(answer); err != nil || answer != "" {
		p.t.Fatalf("%s: %s %v", what, answer, err)
	}
}

// Profile writes a profile of the process's processor time to a file, from now until
// the function that it returns is called.
func (p *Process) Profile(path string) (stop func()) {
	p.order("profile " + path)
	return func() { p.order("profiled") }
}

// Trace writes an execution trace of the process to a file, for go tool trace, from now
// until the function that it returns is called.
func (p *Process) Trace(path string) (stop func()) {
	p.order("trace " + path)
	return func() { p.order("traced") }
}

// Heap writes a profile of the process's memory to a file.
func (p *Process) Heap(path string) { p.order("heap " + path) }

// Child makes this process the collector that Spawn asked for, and says whether it
// was one. TestMain calls it before anything else, and returns when it says so.
func Child() bool {
	text := os.Getenv(childEnv)
	if text == "" {
		return false
	}
	answers := os.NewFile(3, "answers")
	if err := child(text, os.Stdin, answers); err != nil {
		_ = json.NewEncoder(answers).Encode(ready{Error: err.Error()})
	}
	return true
}

func child(text string, orders io.Reader, answers io.Writer) error {
	var o childOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("reading %s: %w", childEnv, err)
	}
	log := slog.New(slog.DiscardHandler)
	if o.Log {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if err := collector.TuneMemory(); err != nil {
		return err
	}
	ctx := context.Background()
	c, err := collector.New(ctx, collector.Options{
		ConfigFile: o.ConfigFile, DataDir: o.DataDir, Web: o.Web, Agents: o.Agents, Version: "test", Logger: log,
	})
	if err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	if err := json.NewEncoder(answers).Encode(ready{Web: c.WebAddr(), Agents: c.AgentsAddr()}); err != nil {
		return errors.Join(err, c.Stop(ctx))
	}
	for scanner := bufio.NewScanner(orders); scanner.Scan(); {
		fmt.Fprintln(answers, obey(scanner.Text()))
	}
	// The parent has closed the pipe, or died.
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return c.Stop(ctx)
}

// obey does what a parent orders, and says what went wrong.
func obey(order string) string {
	what, path, _ := strings.Cut(order, " ")
	var err error
	switch what {
	case "gc":
		runtime.GC() // what has finalizers needs a second one
		debug.FreeOSMemory()
	case "profile":
		err = startProfile(path)
	case "profiled":
		pprof.StopCPUProfile()
	case "trace":
		err = startTrace(path)
	case "traced":
		trace.Stop()
	case "heap":
		err = writeHeap(path)
	default:
		err = fmt.Errorf("there is no order %q", what)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func startProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func startTrace(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return trace.Start(f)
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
