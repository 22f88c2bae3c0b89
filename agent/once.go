package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/agent/internal/schedule"
	"github.com/wacht-io/wacht/checks"
)

// Specs returns the declarations of the checks that every agent has.
func Specs(opts Options) []*checks.Spec { return specsOf(ownChecks(&opts, nil)) }

// AllSpecs returns the declarations of the checks that this machine's agent has, those
// of its plugins too.
func AllSpecs(ctx context.Context, opts Options) ([]*checks.Spec, error) {
	known, err := gather(ctx, &opts, gathering{})
	if err != nil {
		return nil, err
	}
	return specsOf(known.checks), known.close()
}

// Outcome is what CheckOnce gives of one instance.
type Outcome struct {
	Check    string
	Instance string
	Took     time.Duration
	Run      checks.Run
}

// What CheckOnce was asked wrongly.
var (
	ErrNoCheck = errors.New("there is no check")
	ErrParams  = errors.New("the parameters are wrong")
)

// between is the time between the two runs of a check that computes rates.
const between = time.Second

// CheckOnce runs a check now: with the given parameters when there are any, else as
// it is discovered on this machine. Parameters of the machine's own file hold where
// none is given. A check that compares with its run before is run twice.
func CheckOnce(ctx context.Context, opts Options, name string, given checks.Params) (_ []Outcome, err error) {
	known, err := gather(ctx, &opts, gathering{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, known.close()) }()
	all, conf := known.checks, known.conf
	i := slices.IndexFunc(all, func(c checks.Check) bool { return c.Spec().Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w %q; there are: %s", ErrNoCheck, name, strings.Join(names(all), ", "))
	}
	c, env := all[i], environment(conf)
	instances := []checks.Instance{{Params: given}}
	if len(given) == 0 {
		if found := discoverOne(ctx, c, &env); found.err == nil && len(found.instances) > 0 {
			instances = found.instances
		}
		if programs := programInstances(conf, name); len(programs) > 0 {
			instances = programs
		}
	}
	var out []Outcome
	for _, instance := range instances {
		merged := checks.Params{}
		for _, layer := range []checks.Params{instance.Params, conf.Local[name], conf.Local[name+"/"+instance.Name], given} {
			maps.Copy(merged, layer)
		}
		if env.Params, err = c.Spec().Params(merged); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
		out = append(out, once(ctx, c, instance.Name, env))
	}
	return out, nil
}

func names(all []checks.Check) []string {
	out := make([]string, len(all))
	for i, c := range all {
		out[i] = c.Spec().Name
	}
	return out
}

func once(ctx context.Context, c checks.Check, instance string, env checks.Env) Outcome {
	run := func() Outcome {
		ctx, cancel := context.WithTimeout(ctx, c.Spec().Timeout.D())
		defer cancel()
		began := time.Now()
		r := schedule.Once(ctx, c, instance, &env)
		return Outcome{c.Spec().Name, instance, time.Since(began), r}
	}
	out := run()
	if out.Run.Sample == nil {
		return out
	}
	select {
	case <-time.After(between):
	case <-ctx.Done():
	}
	env.Last = out.Run.Sample
	return run()
}
