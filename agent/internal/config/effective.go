package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
)

// Task is one check with its instance as it is to run.
type Task struct {
	Check             checks.Check
	Instance          string
	Params            checks.Params
	Interval, Timeout time.Duration
}

// Name is check or check/instance.
func (t *Task) Name() string { return taskName(t.Check.Spec().Name, t.Instance) }

func taskName(check, instance string) string {
	if instance == "" {
		return check
	}
	return check + "/" + instance
}

// The bounds of what a policy may ask for.
const (
	MinInterval      = time.Second
	MaxInterval      = 30 * 24 * time.Hour
	MaxTimeout       = time.Hour
	MaxInstanceBytes = 100
)

// Input is what the effective configuration follows from.
type Input struct {
	Checks []checks.Check
	// Discovered holds, by check, what was found on the machine.
	Discovered map[string][]checks.Instance
	// Policy is the collector's, or nil.
	Policy *agentpb.Policy
	// Config is the machine's own.
	Config *Config
	// OS is the system's GOOS.
	OS string
}

// Effective computes the tasks, by name, and how each task of the policy fared. A
// task of the policy that is refused changes nothing; the others are applied.
// Problems are tasks that should run and can't.
func Effective(in Input) (tasks []Task, answers []*agentpb.TaskAnswer, problems []error) {
	r := &resolver{in: in, accepted: map[string]*agentpb.Task{}}
	for _, t := range in.Policy.GetTasks() {
		r.answers = append(r.answers, r.accept(t))
	}
	for _, c := range in.Checks {
		if slices.Contains(c.Spec().Systems, in.OS) {
			r.check(c)
		}
	}
	slices.SortFunc(r.tasks, func(a, b Task) int { return strings.Compare(a.Name(), b.Name()) })
	return r.tasks, r.answers, r.problems
}

type resolver struct {
	in       Input
	accepted map[string]*agentpb.Task // by name
	tasks    []Task
	answers  []*agentpb.TaskAnswer
	problems []error
}

func (r *resolver) accept(t *agentpb.Task) *agentpb.TaskAnswer {
	answer := &agentpb.TaskAnswer{Check: t.GetCheck(), Instance: t.GetInstance(), Applied: true}
	if err := r.verify(t); err != nil {
		answer.Applied, answer.Reason = false, err.Error()
		return answer
	}
	r.accepted[taskName(t.GetCheck(), t.GetInstance())] = t
	return answer
}

func (r *resolver) verify(t *agentpb.Task) error {
	i := slices.IndexFunc(r.in.Checks, func(c checks.Check) bool { return c.Spec().Name == t.GetCheck() })
	if i < 0 {
		return errors.New("this agent does not have the check")
	}
	spec := r.in.Checks[i].Spec()
	if t.GetInstance() != "" {
		if err := validInstance(t.GetInstance()); err != nil {
			return err
		}
	}
	switch {
	case r.accepted[taskName(t.GetCheck(), t.GetInstance())] != nil:
		return errors.New("the policy has this task twice")
	case t.GetDisabled():
		return nil
	case r.in.Config.Forbids(t.GetCheck(), t.GetInstance()):
		return errors.New("the machine's own file forbids it")
	case !slices.Contains(spec.Systems, r.in.OS):
		return fmt.Errorf("the check does not work on %s", r.in.OS)
	}
	if err := verifyTimes(t); err != nil {
		return err
	}
	return verifyParams(spec, t)
}

func verifyTimes(t *agentpb.Task) error {
	interval, timeout := duration(t.GetIntervalMs(), 0), duration(t.GetTimeoutMs(), 0)
	if t.GetIntervalMs() != 0 && (interval < MinInterval || interval > MaxInterval) {
		return fmt.Errorf("the interval of %v is not between %v and %v", interval, MinInterval, MaxInterval)
	}
	if t.GetTimeoutMs() != 0 && (timeout <= 0 || timeout > MaxTimeout) {
		return fmt.Errorf("the timeout of %v is not above 0 and at most %v", timeout, MaxTimeout)
	}
	return nil
}

// duration reads milliseconds; 0 stands for what the check declares. It saturates
// where the number is beyond a duration.
func duration(ms int64, declared time.Duration) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if ms == 0 {
		return declared
	}
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

// verifyParams refuses what the machine alone may say, and values that can't be.
func verifyParams(spec *checks.Spec, t *agentpb.Task) error {
	given := policyParams(t)
	for _, p := range spec.Parameters {
		if _, set := given[p.Name]; set && p.Local {
			return fmt.Errorf("the parameter %s is set in the machine's own file only", p.Name)
		}
	}
	if len(given) != len(t.GetParams()) {
		return errors.New("the policy has a parameter twice")
	}
	return verifyValues(spec, given)
}

func policyParams(t *agentpb.Task) checks.Params {
	ps := make(checks.Params, len(t.GetParams()))
	for _, p := range t.GetParams() {
		ps[p.GetName()] = p.GetValues()
	}
	return ps
}

// verifyValues holds given values to the declaration, and asks for none.
func verifyValues(spec *checks.Spec, given checks.Params) error {
	relaxed := *spec
	relaxed.Parameters = slices.Clone(spec.Parameters)
	for i := range relaxed.Parameters {
		relaxed.Parameters[i].Required = false
	}
	_, err := relaxed.Params(given)
	return err
}

// validInstance holds an instance's name to what items may be called.
func validInstance(name string) error {
	switch {
	case name == "":
		return errors.New("an instance's name is empty")
	case len(name) > MaxInstanceBytes:
		return fmt.Errorf("an instance's name has %d bytes; at most %d are allowed", len(name), MaxInstanceBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the instance's name %q has a character that can't be shown", name)
	}
	return nil
}

// check adds the tasks of one check.
func (r *resolver) check(c checks.Check) {
	spec := c.Spec()
	general := r.accepted[spec.Name]
	found := map[string]checks.Params{}
	if !general.GetDisabled() {
		for _, i := range r.in.Discovered[spec.Name] {
			found[i.Name] = i.Params
		}
		_, local := r.in.Config.Local[spec.Name]
		if len(found) == 0 && (local || len(general.GetParams()) > 0) {
			found[""] = nil
		}
		for name := range r.in.Config.Local {
			if check, instance, named := strings.Cut(name, "/"); named && check == spec.Name && found[instance] == nil {
				found[instance] = nil
			}
		}
	}
	for _, t := range r.accepted {
		if t.GetCheck() != spec.Name || t.GetInstance() == "" {
			continue
		}
		if t.GetDisabled() {
			delete(found, t.GetInstance())
		} else if _, known := found[t.GetInstance()]; !known {
			found[t.GetInstance()] = nil
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(found)) {
		if !r.in.Config.Forbids(spec.Name, instance) {
			r.add(c, instance, found[instance])
		}
	}
}

// add merges the layers of one task: discovery, policy, the machine's own file.
func (r *resolver) add(c checks.Check, instance string, discovered checks.Params) {
	spec := c.Spec()
	task := Task{Check: c, Instance: instance, Interval: spec.Interval.D(), Timeout: spec.Timeout.D()}
	merged := maps.Clone(discovered)
	if merged == nil {
		merged = checks.Params{}
	}
	names := slices.Compact([]string{spec.Name, taskName(spec.Name, instance)})
	for _, name := range names {
		t := r.accepted[name]
		if t == nil {
			continue
		}
		maps.Copy(merged, policyParams(t))
		task.Interval, task.Timeout = duration(t.GetIntervalMs(), task.Interval), duration(t.GetTimeoutMs(), task.Timeout)
	}
	for _, name := range names {
		maps.Copy(merged, r.in.Config.Local[name])
	}
	params, err := spec.Params(merged)
	if err != nil {
		r.refuse(&task, err)
		return
	}
	task.Params = params
	r.tasks = append(r.tasks, task)
}

// refuse answers for a task whose layers together do not make one.
func (r *resolver) refuse(t *Task, err error) {
	r.problems = append(r.problems, fmt.Errorf("%s can't run: %w", t.Name(), err))
	for _, a := range r.answers {
		if a.GetCheck() == t.Check.Spec().Name && a.GetInstance() == t.Instance && a.GetApplied() {
			a.Applied, a.Reason = false, err.Error()
		}
	}
}
