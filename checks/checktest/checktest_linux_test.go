package checktest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

const declaration = `
name: example
summary: Waits for as long as it is told
interval: 60s
timeout: 5s
systems: [linux]
parameters:
  - {name: mode, type: enum, values: [now, never, refuse], default: [now], summary: When to answer}
  - {name: count, type: int, min: 1, max: 3, summary: How many}
  - {name: files, type: path, list: true, summary: What to read}
metrics:
  - {name: runs_total, type: counter, unit: runs, summary: Runs so far}
`

// example is a check without fault, in which a test puts one.
type example struct {
	spec    *checks.Spec
	hanging chan<- struct{}
	run     func(context.Context, *checks.Env, *checks.Run) error
	found   func() []checks.Instance
}

func newExample(t *testing.T) *example {
	t.Helper()
	spec, err := checks.ParseSpec([]byte(declaration))
	if err != nil {
		t.Fatal(err)
	}
	return &example{spec: spec}
}

func (e *example) Spec() *checks.Spec { return e.spec }

func (e *example) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	if e.found != nil {
		return e.found(), nil
	}
	return []checks.Instance{{}}, nil
}

func (e *example) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	switch env.Params.String("mode") {
	case "refuse":
		return checks.Run{}, errors.New("mode: nothing to refuse")
	case "never":
		e.hanging <- struct{}{}
		<-ctx.Done()
		return checks.Run{}, ctx.Err()
	}
	n, _ := env.Last.(float64)
	run := checks.Run{
		Results:  []checks.Result{{Summary: "ran", Metrics: []checks.Metric{{Name: "runs_total", Type: checks.Counter, Value: n + 1}}}},
		Complete: true,
		Sample:   n + 1,
	}
	if e.run == nil {
		return run, nil
	}
	err := e.run(ctx, env, &run)
	return run, err
}

func TestFaultless(t *testing.T) {
	e := newExample(t)
	checktest.Run(t, e, checktest.Options{
		Params:       checks.Params{"files": {"/a"}},
		Refused:      []checktest.Refusal{{Params: checks.Params{"mode": {"refuse"}}, Name: "mode"}},
		Discoverable: true,
		Hanging: func(*testing.T) (checks.Params, <-chan struct{}) {
			hanging := make(chan struct{}, 1)
			e.hanging = hanging
			return checks.Params{"mode": {"never"}}, hanging
		},
	})
}

// faults are what the suite must find, with a word of its complaint.
var faults = map[string]struct {
	complaint string
	run       func(context.Context, *checks.Env, *checks.Run) error
	found     func() []checks.Instance
}{
	"undeclared metric": {complaint: `metric "speed" is not declared`, run: func(_ context.Context, _ *checks.Env, run *checks.Run) error {
		run.Results[0].Metrics[0].Name = "speed"
		return nil
	}},
	"no summary": {complaint: "the summary must be one line", run: func(_ context.Context, _ *checks.Env, run *checks.Run) error {
		run.Results[0].Summary = ""
		return nil
	}},
	"item of a single subject": {complaint: "a single subject", run: func(_ context.Context, _ *checks.Env, run *checks.Run) error {
		run.Results[0].Item = "one"
		return nil
	}},
	"not ok": {complaint: "is critical", run: func(_ context.Context, _ *checks.Env, run *checks.Run) error {
		run.Results[0].Status = checks.Critical
		return nil
	}},
	"error": {complaint: "no luck", run: func(context.Context, *checks.Env, *checks.Run) error {
		return errors.New("no luck")
	}},
	"changes its parameters": {complaint: "changed its parameters", run: func(_ context.Context, env *checks.Env, _ *checks.Run) error {
		env.Params["count"] = []string{"2"}
		return nil
	}},
	"second run": {complaint: "run 2: the sample", run: func(_ context.Context, env *checks.Env, _ *checks.Run) error {
		if env.Last != nil {
			return errors.New("the sample is of another check")
		}
		return nil
	}},
	"open file": {complaint: "files were open", run: func(context.Context, *checks.Env, *checks.Run) error {
		file, err := os.Open(os.DevNull)
		if err == nil {
			// A copy of the descriptor is what the garbage collector can't close.
			_, err = syscall.Dup(int(file.Fd()))
		}
		return errors.Join(err, file.Close())
	}},
	"goroutine": {complaint: "goroutines left behind", run: func(context.Context, *checks.Env, *checks.Run) error {
		go func() { select {} }()
		return nil
	}},
	"discovers nothing":    {complaint: "nothing was discovered", found: func() []checks.Instance { return nil }},
	"discovers twice":      {complaint: "discovered twice", found: func() []checks.Instance { return make([]checks.Instance, 2) }},
	"discovers impossible": {complaint: "bad parameters", found: func() []checks.Instance { return []checks.Instance{{Params: checks.Params{"x": {"y"}}}} }},
}

const faultVariable = "WACHT_TEST_FAULT"

// TestFaults runs this program again for each fault, since a test can't see
// another one fail.
func TestFaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFaulty$")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), fault.complaint) {
				t.Errorf("must fail with %q, but ended with %v:\n%s", fault.complaint, err, out)
			}
		})
	}
}

func TestFaulty(t *testing.T) {
	fault, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		return // a plain run of the tests
	}
	e := newExample(t)
	e.run, e.found = fault.run, fault.found
	checktest.Run(t, e, checktest.Options{Discoverable: true})
}
