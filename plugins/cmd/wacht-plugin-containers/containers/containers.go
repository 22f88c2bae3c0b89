// Package containers checks the containers of Docker and Podman, over the socket of
// their engine: Docker's API (https://docs.docker.com/reference/api/engine/), which
// Podman answers too. Whoever may ask an engine rules it, so that the machine's own file
// has to let the plugin: it runs as root, or as a user of the group docker.
package containers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

//go:embed check.yaml
var declaration []byte

// engineItem is the item that tells of the engine itself. No container has a name like
// it.
const engineItem = "(engine)"

type check struct {
	spec    *checks.Spec
	sockets []place // where engines may listen
	now     func() time.Time
}

// New returns the check.
func New() checks.Check { return newCheck(places) }

func newCheck(sockets []place) *check {
	spec, err := checks.ParseSpec(declaration)
	if err != nil {
		panic(err) // it is compiled in
	}
	return &check{spec, sockets, time.Now}
}

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds the sockets of engines; each is an instance.
func (c *check) Discover(_ context.Context, _ *checks.Env) ([]checks.Instance, error) {
	var out []checks.Instance
	for _, s := range find(c.sockets) {
		out = append(out, checks.Instance{Name: s.name, Params: checks.Params{"socket": {s.path}}, Items: []string{s.path}})
	}
	return out, nil
}

// sample is what a run leaves for the next one.
type sample struct {
	restarts   map[string]int // by the container's id
	volumes    *usage
	measuredAt time.Time // when volumes were, or could not be
}

// Run asks the engine about all containers.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	socket, err := c.socket(env.Params.String("socket"))
	if err != nil {
		return checks.Run{}, err
	}
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	before, _ := env.Last.(*sample)
	if before == nil {
		before = &sample{}
	}
	within, cancel := sooner(ctx)
	defer cancel()
	run, err := c.ask(within, socket, newFilter(env.Params), before, env.Params.Duration("volumes_every"))
	if ctx.Err() != nil {
		return checks.Run{}, ctx.Err()
	}
	if err != nil {
		return unanswered(socket, err, before), nil
	}
	return run, nil
}

// sooner returns a context that ends a little before ctx does, so that an engine that
// hangs is still told of.
func sooner(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-time.Until(end)/10))
}

// socket is the one to ask.
func (c *check) socket(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	found := find(c.sockets)
	switch len(found) {
	case 1:
		return found[0].path, nil
	case 0:
		return "", errors.New("socket: there is no container engine on this machine; name its socket in the machine's own file")
	}
	var paths []string
	for _, s := range found {
		paths = append(paths, s.path)
	}
	return "", fmt.Errorf("socket: there are several engines; name one of %s", strings.Join(paths, ", "))
}

// unanswered tells that the engine gave no answer. Of the containers nothing is known.
func unanswered(socket string, err error, before *sample) checks.Run {
	r := checks.Result{Item: engineItem, Status: checks.Critical, Summary: line("the engine at " + socket + " does not answer: " + cause(err))}
	if errors.Is(err, fs.ErrPermission) {
		r.Status = checks.Unknown
		r.Summary = line("no permission to open " + socket + ": let this plugin run as a user who may, such as root, or give the agent the group of the socket")
		return checks.Run{Results: []checks.Result{r}, Sample: before}
	}
	r.Metrics = figures{}.gauge("up", 0)
	return checks.Run{Results: []checks.Result{r}, Sample: before}
}

// ask gives a run of an engine that answers.
func (c *check) ask(ctx context.Context, socket string, pick *filter, before *sample, volumesEvery time.Duration) (checks.Run, error) {
	e, err := open(ctx, socket)
	if err != nil {
		return checks.Run{}, err
	}
	defer e.close()
	all, err := e.containers(ctx, pick)
	if err != nil {
		return checks.Run{}, err
	}
	after := &sample{restarts: map[string]int{}, volumes: before.volumes, measuredAt: before.measuredAt}
	run := checks.Run{Complete: true, Sample: after}
	running := 0
	for i := range all.inspected {
		s := &all.inspected[i]
		s.note(before.restarts)
		after.restarts[s.id] = s.restarts
		if s.running {
			running++
		}
		run.Results = append(run.Results, s.result(c.now(), all.images))
	}
	for _, name := range pick.missing(all.inspected, all.failed) {
		run.Results = append(run.Results, absent(name))
	}
	for _, f := range all.failed {
		run.Results = append(run.Results, checks.Result{Item: f.name, Status: checks.Unknown, Summary: line("the engine does not tell of it: " + cause(f.err))})
	}
	trouble := c.measure(ctx, e, after, volumesEvery)
	if most := checks.MaxResults - 1; len(run.Results) > most {
		run.Results, run.Complete = run.Results[:most], false
		trouble = append(trouble, fmt.Errorf("there are more than the %d containers that one run may tell of: use include or exclude", most))
	}
	run.Results = append(run.Results, engineResult(all, running, after.volumes, trouble))
	return run, nil
}

// measure has the engine measure its volumes when it is time again.
func (c *check) measure(ctx context.Context, e *engine, s *sample, every time.Duration) []error {
	if now := c.now(); s.measuredAt.IsZero() || now.Sub(s.measuredAt) >= every {
		s.measuredAt = now
		measured, err := e.volumes(ctx)
		if err != nil {
			s.volumes = nil
			return []error{fmt.Errorf("volumes could not be measured: %s", cause(err))}
		}
		s.volumes = measured
	}
	return nil
}

func engineResult(all *listing, running int, u *usage, trouble []error) checks.Result {
	l := figures{}.gauge("up", 1).
		gauge("containers", float64(all.total)).
		gauge("containers_running", float64(running))
	var summary strings.Builder
	fmt.Fprintf(&summary, "%d containers, %d of those looked at run", all.total, running)
	if u != nil {
		l = u.figures(l)
		fmt.Fprintf(&summary, "; %d volumes, %d of them unused", u.count, u.unused)
	}
	for _, err := range trouble {
		summary.WriteString("; " + err.Error())
	}
	return checks.Result{Item: engineItem, Summary: line(summary.String()), Metrics: l}
}

// figures collects metrics.
type figures []checks.Metric

func (f figures) gauge(name string, v float64, labels ...checks.Label) figures {
	return append(f, checks.Metric{Name: name, Type: checks.Gauge, Labels: labels, Value: v})
}

func (f figures) counter(name string, v float64) figures {
	return append(f, checks.Metric{Name: name, Type: checks.Counter, Value: v})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// line makes one line of what an engine or a container said, short enough for a summary.
func line(text string) string {
	return cut(strings.Join(strings.Fields(text), " "), checks.MaxSummaryBytes)
}

// cut shortens text to at most n bytes, at a character's end.
func cut(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}

// sorted gives a map's keys in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
