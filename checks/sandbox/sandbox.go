// Package sandbox runs other programs for checks: by absolute path, without a
// shell, with a clean environment, limits on output and use, and killed as a
// group. It is the only part of the checks that starts a program.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// The limits that hold where Options say nothing else.
const (
	DefaultMaxOutput = 1 << 20 // bytes of standard output and error together
	DefaultMaxCPU    = time.Minute
)

// pipeDelay is how long a program that has ended may keep its output open through
// a descendant that left the group.
const pipeDelay = 500 * time.Millisecond

// Options are a sandbox's limits. The zero value has the defaults.
type Options struct {
	// MaxOutput bounds, in bytes, what a program writes to standard output and error
	// together. More is an error.
	MaxOutput int
	// MaxCPU bounds the processor time of each process, where the system can.
	MaxCPU time.Duration
	// MaxMemory bounds each process's address space in bytes, where the system can;
	// 0 sets no bound. Programs with a large runtime reserve far more than they use.
	MaxMemory uint64
}

// Sandbox implements checks.Sandbox. It is safe for concurrent use.
type Sandbox struct{ opts Options }

// New returns a sandbox with the given limits.
func New(opts Options) *Sandbox {
	if opts.MaxOutput <= 0 {
		opts.MaxOutput = DefaultMaxOutput
	}
	if opts.MaxCPU <= 0 {
		opts.MaxCPU = DefaultMaxCPU
	}
	return &Sandbox{opts}
}

// Exec runs a program to its end. A program that ran and exited by itself is no
// error, whatever its exit code. One that could not be trusted or started, wrote
// too much, was ended by a signal, or was still running when ctx ended is. When
// Exec returns, the program has ended and the rest of its process group is killed.
func (s *Sandbox) Exec(ctx context.Context, command checks.Command) (checks.Output, error) {
	p, err := s.program(command)
	if err != nil {
		return checks.Output{}, fmt.Errorf("running %s: %w", command.Path, err)
	}
	out, err := s.Run(ctx, p, command.Args, command.Stdin)
	return out, errors.Join(err, p.Close())
}

// program finds a command's program, held to its digest where it has one.
func (s *Sandbox) program(command checks.Command) (*Program, error) {
	if command.SHA256 != nil {
		return open(command.Path, *command.SHA256)
	}
	resolved, err := verify(command.Path)
	if err != nil {
		return nil, err
	}
	return &Program{path: command.Path, resolved: resolved}, nil
}

func (s *Sandbox) run(ctx context.Context, p *Program, args []string, stdin []byte) (checks.Output, error) {
	if err := ctx.Err(); err != nil {
		return checks.Output{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room := &budget{left: s.opts.MaxOutput, max: s.opts.MaxOutput, exceeded: cancel}
	var stdout, stderr bytes.Buffer
	cmd := p.command(ctx, args)
	cmd.Stdout, cmd.Stderr = room.writer(&stdout), room.writer(&stderr)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	err := s.supervise(cmd)
	if room.err != nil {
		return checks.Output{}, room.err
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return checks.Output{}, fmt.Errorf("killed: %w", cause)
	}
	if err != nil {
		return checks.Output{}, err
	}
	return checks.Output{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: cmd.ProcessState.ExitCode()}, nil
}

// supervise starts the program, waits for it, and leaves nothing of its group.
func (s *Sandbox) supervise(cmd *exec.Cmd) error {
	g, err := newGroup(cmd, s.opts)
	if err != nil {
		return err
	}
	defer g.close()
	cmd.Cancel = g.kill
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting it: %w", err)
	}
	limitErr := g.started()
	if limitErr != nil {
		_ = g.kill()
	}
	return errors.Join(limitErr, ended(cmd, g.wait()))
}

// ended tells a program that exited by itself from one that did not.
func ended(cmd *exec.Cmd, err error) error {
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok && cmd.ProcessState.Exited() {
		return nil
	}
	return err
}

// budget is the room for output that a program's two streams share. err may be
// read when both have ended.
type budget struct {
	mu        sync.Mutex
	left, max int
	err       error
	exceeded  context.CancelCauseFunc
}

func (b *budget) take(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		b.err = fmt.Errorf("killed: its output exceeds the limit of %d bytes", b.max)
		b.exceeded(b.err)
		return b.err
	}
	b.left -= n
	return nil
}

func (b *budget) writer(to *bytes.Buffer) writerFunc {
	return func(p []byte) (int, error) {
		if err := b.take(len(p)); err != nil {
			return 0, err
		}
		return to.Write(p)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
