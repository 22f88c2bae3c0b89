package schedule

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// begin starts a run of the task, unless one is still under way. The caller holds mu.
func (s *Scheduler) begin(ctx context.Context, t *task, name string) {
	if r := s.running[name]; r != nil {
		if r.hung {
			s.report(t, t.planned, time.Since(r.started), s.hungRun(r))
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	r := &running{task: t, planned: t.planned, started: time.Now(), cancel: cancel}
	s.running[name] = r
	r.timer = time.AfterFunc(t.Timeout+grace, func() { s.abandon(r, name) })
	env := &checks.Env{Params: t.Params, Last: t.sample, Sandbox: s.opts.Sandbox, Secrets: s.opts.Secrets}
	s.wg.Go(func() {
		defer cancel()
		run, err := contain(ctx, t.Check, env)
		s.finish(ctx, r, name, run, err)
	})
}

// errPanic marks an error that was a panic.
var errPanic = errors.New("the check broke")

// contain runs the check and turns a panic into an error.
func contain(ctx context.Context, c checks.Check, env *checks.Env) (run checks.Run, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}
	}()
	return c.Run(ctx, env)
}

// Once runs a check outside the schedule, held to the same rules.
func Once(ctx context.Context, c checks.Check, instance string, env *checks.Env) checks.Run {
	run, err := contain(ctx, c, env)
	return settle(c.Spec(), instance, run, err)
}

// abandon gives up a run that did not end with its context. Its goroutine lives
// on; until it ends the task has no other run.
func (s *Scheduler) abandon(r *running, name string) {
	s.mu.Lock()
	defer s.unlock()
	if s.running[name] != r {
		return
	}
	r.hung = true
	s.opts.Logger.Warn("a check hangs: it is left alone", "check", name, "since", s.frame.at(r.started))
	if s.tasks[name] == r.task {
		s.report(r.task, r.planned, time.Since(r.started), s.hungRun(r))
	}
}

func (s *Scheduler) hungRun(r *running) checks.Run {
	since := s.frame.at(r.started).UTC().Format(time.RFC3339)
	return unknown(r.task.Instance, "hung since "+since+": the run did not end at its timeout of "+r.task.Timeout.String())
}

// finish takes a run's outcome. One that comes after the run was abandoned, or its
// task changed, only frees the task.
func (s *Scheduler) finish(ctx context.Context, r *running, name string, run checks.Run, err error) {
	r.timer.Stop()
	s.mu.Lock()
	defer s.unlock()
	delete(s.running, name)
	if errors.Is(err, errPanic) {
		s.opts.Logger.Error("a check broke", "check", name, "error", err)
	}
	if r.hung {
		s.opts.Logger.Info("a check that hung has ended", "check", name)
	}
	stopped := errors.Is(ctx.Err(), context.Canceled)
	if r.hung || stopped || s.tasks[name] != r.task {
		return
	}
	if err == nil {
		r.task.sample = run.Sample
	}
	s.report(r.task, r.planned, time.Since(r.started), settle(r.task.Check.Spec(), r.task.Instance, run, err))
}

// report has a run handed on when mu is freed. The caller holds mu.
func (s *Scheduler) report(t *task, planned time.Time, took time.Duration, run checks.Run) {
	if !s.opts.Evidence {
		for i := range run.Results {
			run.Results[i].Evidence = ""
		}
	}
	t.last = LastRun{Planned: planned, Duration: took, Results: len(run.Results)}
	for i := range run.Results {
		if r := &run.Results[i]; i == 0 || worse(r.Status, t.last.Status) {
			t.last.Status, t.last.Summary = r.Status, r.Summary
		}
	}
	s.out = append(s.out, checkpb.ToProto(t.Check.Spec().Name, t.Instance, planned, 2*t.Interval+t.Timeout, run))
}

func worse(a, b checks.Status) bool {
	order := [...]int{checks.OK: 0, checks.Warning: 2, checks.Critical: 3, checks.Unknown: 1}
	return order[a] > order[b]
}

// settle names the items, and turns what can't be shown as a result into an
// unknown one that says why.
func settle(spec *checks.Spec, instance string, run checks.Run, err error) checks.Run {
	if err != nil {
		return unknown(instance, reason(err))
	}
	for i := range run.Results {
		r := &run.Results[i]
		r.Item = strings.Map(printable, r.Item)
		if instance != "" {
			r.Item = strings.TrimSpace(instance + " " + r.Item)
		}
	}
	if err := spec.Validate(&run); err != nil {
		return unknown(instance, "the check gave a result that breaks its declaration: "+err.Error())
	}
	return run
}

// printable replaces what a name of an item may not have: a mount point can have a
// line break in it.
func printable(r rune) rune {
	if unicode.IsControl(r) || r == utf8.RuneError {
		return '?'
	}
	return r
}

// reason is an error as a person reads it. The stack of a panic is for the log.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if errors.Is(err, context.DeadlineExceeded) {
		return "no result within the timeout: " + text
	}
	return text
}

func unknown(instance, summary string) checks.Run {
	summary = strings.ToValidUTF8(summary, "?")
	for len(summary) > checks.MaxSummaryBytes {
		_, size := utf8.DecodeLastRuneInString(summary)
		summary = summary[:len(summary)-size]
	}
	return checks.Run{Results: []checks.Result{{Item: instance, Status: checks.Unknown, Summary: summary}}}
}
