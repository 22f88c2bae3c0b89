// Package service checks that the services of the system run: systemd's units,
// Windows' services, launchd's jobs.
package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/host"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// briefly is how long a program may run and then end without an error as one that
// has done its work. What ran longer is a service that somebody stopped.
const briefly = 10 * time.Minute

// errNoManager says that the machine does not have the service manager that this
// check asks.
var errNoManager = errors.New("there is no service manager to ask")

// service is one service, whatever manages it.
type service struct {
	name     string
	state    string // in the manager's words
	active   bool
	expected bool
	failed   bool
	why      string   // why it is not expected to run, or how it failed
	restarts *float64 // nil when not counted
}

// query is what is asked of a manager.
type query struct {
	units, exclude []string
	last           any // the Sample of the run before
}

func (q query) chosen() bool { return len(q.units) > 0 }

func (q query) excludes(name string) bool {
	return slices.Contains(q.exclude, name) || slices.Contains(q.exclude, strings.TrimSuffix(name, ".service"))
}

// manager lists services; each system has its own.
type manager interface {
	list(ctx context.Context, env *checks.Env, q query) (services []service, sample any, err error)
}

type check struct {
	spec    *checks.Spec
	manager manager
	uptime  func(context.Context) (uint64, error) // seconds
}

// New returns the check.
func New() checks.Check {
	return &check{checks.MustDeclaration("service"), newManager(), host.UptimeWithContext}
}

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds the services that start by themselves.
func (c *check) Discover(ctx context.Context, env *checks.Env) ([]checks.Instance, error) {
	services, _, err := c.manager.list(ctx, env, query{})
	if errors.Is(err, errNoManager) {
		return nil, nil
	}
	if err != nil || len(services) == 0 {
		return nil, err
	}
	instance := checks.Instance{}
	for _, s := range services {
		instance.Items = append(instance.Items, s.name)
	}
	return []checks.Instance{instance}, nil
}

// Run looks at every service that is asked for.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	q := query{env.Params.Strings("units"), env.Params.Strings("exclude"), env.Last}
	services, sample, err := c.manager.list(ctx, env, q)
	if err != nil {
		return checks.Run{}, err
	}
	up, err := c.uptime(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("reading the time since the system started: %w", err)
	}
	run := checks.Run{Complete: true, Sample: sample}
	for i := range services {
		if s := &services[i]; !q.excludes(s.name) && len(run.Results) < checks.MaxResults {
			run.Results = append(run.Results, s.result(q.chosen(), float64(up)))
		}
	}
	return run, nil
}

func (s *service) result(chosen bool, up float64) checks.Result {
	var l metric.List
	l.Gauge("active", truth(s.active))
	l.Gauge("expected", truth(s.expected))
	l.Gauge("chosen", truth(chosen))
	l.Gauge("failed", truth(s.failed))
	if s.restarts != nil {
		l.Gauge("restarts", *s.restarts)
	}
	if s.expected && !s.active {
		l.Gauge("boot_age_seconds", up)
	}
	summary := s.state
	if s.why != "" {
		summary += ": " + s.why
	}
	return checks.Result{Item: text.Cut(s.name, checks.MaxItemBytes), Summary: text.Line(summary), Metrics: l}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unique sorts names and leaves out what is there twice.
func unique(names []string, normal func(string) string) []string {
	var out []string
	for _, name := range names {
		out = append(out, normal(strings.TrimSpace(name)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
