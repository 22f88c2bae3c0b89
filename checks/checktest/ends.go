package checktest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
)

// A check whose context has ended returns: with an error, or with what it could
// still say. What it says must be valid, and must not claim to be whole when
// nothing was looked at.

func (s suite) cancelledBefore(t *testing.T) {
	ctx, cancel := s.context(t)
	cancel()
	s.endsEarly(t, ctx)
}

func (s suite) deadlinePassed(t *testing.T) {
	ctx, cancel := s.context(t)
	defer cancel()
	ctx, cancelDeadline := context.WithDeadline(ctx, time.Unix(1, 0))
	defer cancelDeadline()
	s.endsEarly(t, ctx)
}

func (s suite) endsEarly(t *testing.T, ctx context.Context) {
	t.Helper()
	run, err := s.run(t, ctx, s.env(t, s.opts.Params))
	if err == nil && run.Complete && len(run.Results) == 0 {
		t.Error("a run that could not look claims that there are no items: Complete must be false, or Run must return the error")
	}
}

func (s suite) cancelledDuring(t *testing.T) {
	if s.opts.Hanging == nil {
		return
	}
	params, hanging := s.opts.Hanging(t)
	s.cancelWhen(t, s.env(t, params), hanging)
}

// programHangs gives the check a program that never ends by itself.
func (s suite) programHangs(t *testing.T) {
	program := hungProgram{started: make(chan struct{}, 64)}
	env := s.env(t, s.opts.Params)
	env.Sandbox = program
	s.cancelWhen(t, env, program.started)
}

// cancelWhen cancels a run when it hangs; a run that does not hang ends by itself.
func (s suite) cancelWhen(t *testing.T, env *checks.Env, hanging <-chan struct{}) {
	t.Helper()
	ctx, cancel := s.context(t)
	defer cancel()
	go func() {
		select {
		case <-hanging:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, _ = s.run(t, ctx, env)
}

type hungProgram struct{ started chan struct{} }

func (h hungProgram) Exec(ctx context.Context, _ checks.Command) (checks.Output, error) {
	select {
	case h.started <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return checks.Output{}, context.Cause(ctx)
}

// leavesNothing compares goroutines, open files and child processes before and
// after runs that end by themselves and runs that are cancelled.
func (s suite) leavesNothing(t *testing.T) {
	env := s.env(t, s.opts.Params)
	s.runAndCancel(t, env) // what the standard library opens once and keeps
	goroutines := goleak.IgnoreCurrent()
	files, children := openFiles(t), childProcesses(t)
	for range 3 {
		s.runAndCancel(t, env)
	}
	if err := goleak.Find(goroutines); err != nil {
		t.Errorf("goroutines left behind: %v", err)
	}
	// A counterpart in this process closes its ends of the connections when it has
	// noticed that the check closed its own.
	now := openFiles(t)
	for tries := 0; now > files && tries < 500; tries++ {
		time.Sleep(10 * time.Millisecond)
		now = openFiles(t)
	}
	if now > files {
		t.Errorf("%d files were open before the runs, %d after", files, now)
	}
	if now := childProcesses(t); now > children {
		t.Errorf("%d child processes before the runs, %d after", children, now)
	}
}

func (s suite) runAndCancel(t *testing.T, env *checks.Env) {
	t.Helper()
	ctx, cancel := s.context(t)
	if run, err := s.run(t, ctx, env); err == nil {
		env.Last = run.Sample
	}
	cancel()
	_, _ = s.run(t, ctx, env)
}
