// Package checktest holds every check to what its callers rely on: a valid
// declaration, discovery that is stable, runs that validate, an end at the
// deadline, and nothing left behind. A check's own tests call Run and then prove
// what is particular to the check.
package checktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// watchdog ends a test of a check that does not return. It says nothing of how
// fast a check should be.
const watchdog = 30 * time.Second

// Options say how the check can be tried on this machine.
type Options struct {
	// Params are values with which the check works here; defaults are filled in.
	Params checks.Params
	// Refused are values that the declaration allows and the check must refuse.
	Refused []Refusal
	// Discoverable expects at least one instance to be discovered here.
	Discoverable bool
	// Fails says that Params lead to results that are not ok, so that only their
	// form is looked at. Without it every result of the first run must be ok.
	Fails bool
	// Sandbox and Secrets are given to the check. Without a Sandbox, a check that
	// starts a program fails the test.
	Sandbox checks.Sandbox
	Secrets checks.Secrets
	// Context, if set, prepares the context of each call, such as with the root of a
	// fixture for gopsutil.
	Context func(context.Context) context.Context
	// Hanging, if set, starts a counterpart that takes the check in and never answers.
	// It returns parameters that lead there and a channel that is closed or sent to
	// when the check is hanging; the test then cancels.
	Hanging func(t *testing.T) (checks.Params, <-chan struct{})
}

// Refusal is a configuration that a check must refuse, naming a parameter.
type Refusal struct {
	Params checks.Params
	Name   string
}

// Run puts a check through the whole suite. It counts goroutines and open files,
// so it must not run beside parallel tests.
func Run(t *testing.T, check checks.Check, opts Options) {
	t.Helper()
	s := suite{check, opts}
	t.Run("declaration", s.declaration)
	t.Run("bad parameters", s.badParameters)
	t.Run("refused parameters", s.refused)
	t.Run("discovery", s.discovery)
	t.Run("runs", s.runs)
	t.Run("concurrent runs", s.concurrent)
	t.Run("cancelled before", s.cancelledBefore)
	t.Run("deadline passed", s.deadlinePassed)
	t.Run("cancelled during", s.cancelledDuring)
	t.Run("program hangs", s.programHangs)
	t.Run("leaves nothing", s.leavesNothing)
}

type suite struct {
	check checks.Check
	opts  Options
}

func (s suite) context(t *testing.T) (context.Context, context.CancelFunc) {
	return s.prepare(t.Context())
}

func (s suite) prepare(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.opts.Context != nil {
		ctx = s.opts.Context(ctx)
	}
	return context.WithTimeout(ctx, s.check.Spec().Timeout.D())
}

func (s suite) env(t *testing.T, given checks.Params) *checks.Env {
	t.Helper()
	params, err := s.check.Spec().Params(given)
	if err != nil {
		t.Fatalf("the parameters for this test: %v", err)
	}
	env := &checks.Env{Params: params, Sandbox: s.opts.Sandbox, Secrets: s.opts.Secrets}
	if env.Sandbox == nil {
		env.Sandbox = noPrograms{}
	}
	if env.Secrets == nil {
		env.Secrets = noSecrets{}
	}
	return env
}

type noPrograms struct{}

func (noPrograms) Exec(_ context.Context, cmd checks.Command) (checks.Output, error) {
	return checks.Output{}, fmt.Errorf("this test gave no sandbox to start %s with", cmd.Path)
}

type noSecrets struct{}

func (noSecrets) Secret(name string) (checks.Secret, error) {
	return checks.Secret{}, fmt.Errorf("this test holds no secret %q", name)
}

func (s suite) declaration(t *testing.T) {
	spec := s.check.Spec()
	if spec == nil || spec != s.check.Spec() {
		t.Fatal("Spec must return the same declaration at every call")
	}
	if spec.Summary == "" {
		t.Error("the declaration has no summary")
	}
	if len(spec.Systems) == 0 {
		t.Error("the declaration names no system that the check works on")
	}
	if spec.Timeout > spec.Interval {
		t.Errorf("the timeout of %s is longer than the interval of %s", spec.Timeout, spec.Interval)
	}
}

// run runs the check once and expects it to return.
func (s suite) run(t *testing.T, ctx context.Context, env *checks.Env) (checks.Run, error) {
	t.Helper()
	type answer struct {
		run checks.Run
		err error
	}
	given := maps.Clone(env.Params)
	done := make(chan answer, 1)
	go func() {
		run, err := s.check.Run(ctx, env)
		done <- answer{run, err}
	}()
	select {
	case a := <-done:
		if !reflect.DeepEqual(given, env.Params) {
			t.Error("Run changed its parameters")
		}
		if a.err == nil {
			s.valid(t, &a.run)
		}
		return a.run, a.err
	case <-time.After(watchdog):
		t.Fatalf("Run did not return within %s", watchdog)
		return checks.Run{}, nil
	}
}

func (s suite) valid(t *testing.T, run *checks.Run) {
	t.Helper()
	if err := s.check.Spec().Validate(run); err != nil {
		t.Errorf("the run is not valid: %v", err)
	}
	for i := range run.Results {
		r := &run.Results[i]
		if r.Summary == "" || strings.ContainsAny(r.Summary, "\r\n") {
			t.Errorf("item %q: the summary must be one line, but is %q", r.Item, r.Summary)
		}
		if s.check.Spec().Item == "" && r.Item != "" {
			t.Errorf("item %q, but the declaration says that there is a single subject", r.Item)
		}
	}
}

func (s suite) runs(t *testing.T) {
	env := s.env(t, s.opts.Params)
	for n := range 3 {
		ctx, cancel := s.context(t)
		run, err := s.run(t, ctx, env)
		cancel()
		if err != nil {
			t.Fatalf("run %d: %v", n+1, err)
		}
		if !s.opts.Fails {
			s.allOK(t, n+1, &run)
		}
		env.Last = run.Sample
	}
}

func (s suite) allOK(t *testing.T, n int, run *checks.Run) {
	t.Helper()
	if len(run.Results) == 0 {
		t.Errorf("run %d has no result", n)
	}
	for _, r := range run.Results {
		if r.Status != checks.OK {
			t.Errorf("run %d, item %q is %s: %s", n, r.Item, r.Status, r.Summary)
		}
	}
}

// concurrent runs two instances at a time, as the agent does; the race detector
// finds what they share.
func (s suite) concurrent(t *testing.T) {
	ctx, cancel := s.context(t)
	defer cancel()
	done := make(chan error, 2)
	for range cap(done) {
		env := s.env(t, s.opts.Params)
		go func() {
			_, err := s.check.Run(ctx, env)
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (s suite) discovery(t *testing.T) {
	first, second := s.discover(t), s.discover(t)
	if s.opts.Discoverable && len(first) == 0 {
		t.Error("nothing was discovered on this machine")
	}
	if !reflect.DeepEqual(names(first), names(second)) {
		t.Errorf("two discoveries in a row differ: %q, then %q", names(first), names(second))
	}
	seen := make(map[string]bool)
	for _, instance := range first {
		if seen[instance.Name] {
			t.Errorf("instance %q was discovered twice", instance.Name)
		}
		seen[instance.Name] = true
		if _, err := s.check.Spec().Params(instance.Params); err != nil {
			t.Errorf("instance %q was discovered with bad parameters: %v", instance.Name, err)
		}
	}
}

func (s suite) discover(t *testing.T) []checks.Instance {
	t.Helper()
	ctx, cancel := s.context(t)
	defer cancel()
	instances, err := s.check.Discover(ctx, s.env(t, s.opts.Params))
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	return instances
}

func names(instances []checks.Instance) []string {
	out := make([]string, len(instances))
	for i, instance := range instances {
		out[i] = instance.Name
	}
	return out
}

// refusedBy says whether a run refuses its configuration and names the parameter.
func refusedBy(run checks.Run, err error, name string) error {
	if err != nil {
		if !strings.Contains(err.Error(), name) {
			return fmt.Errorf("the error does not name %s: %w", name, err)
		}
		return nil
	}
	for _, r := range run.Results {
		if r.Status == checks.Unknown && strings.Contains(r.Summary, name) {
			return nil
		}
	}
	return errors.New("neither an error nor an unknown result names " + name)
}
