// Package internet tests the way to the internet layer by layer, from the cable to the
// page of a provider, and names the first layer that is broken.
package internet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/route"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("internet")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds a machine with a default gateway.
func (*check) Discover(ctx context.Context, _ *checks.Env) ([]checks.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := route.Default()
	if errors.Is(err, route.ErrNone) || errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []checks.Instance{{Items: []string{"by " + found.Gateway.String()}}}, nil
}

// layers are the steps that everybody has, in order.
var layers = []string{"link", "address", "gateway", "dns", "tcp", "https"}

// test is one run.
type test struct {
	cfg   *config
	known seen

	steps     outward.Steps
	failed    string // the layer that is broken
	answering int
	portal    bool
	asked     bool // whether providers were asked
	rtt       time.Duration
	detail    string // of the providers that failed
}

// seen is the Sample: gateways that have answered pings, the newest last. It is bytes,
// so that it outlives the process that the check runs in.
type seen []netip.Addr

// maxSeen is how many are kept: a laptop meets many.
const maxSeen = 32

func readSeen(last any) (s seen) {
	data, _ := last.([]byte)
	if json.Unmarshal(data, &s) != nil {
		return nil
	}
	return s
}

func (s seen) with(addr netip.Addr) seen {
	if !slices.Contains(s, addr) {
		s = append(s, addr)
	}
	return s[max(0, len(s)-maxSeen):]
}

// Run tests every layer until one is broken.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	if _, err := route.Default(); errors.Is(err, errors.ErrUnsupported) {
		return checks.Run{}, err
	}
	inTime, cancel := outward.Deadline(ctx)
	defer cancel()
	t := test{cfg: cfg, known: readSeen(env.Last)}
	t.do(inTime)
	if err := ctx.Err(); err != nil {
		return checks.Run{}, fmt.Errorf("testing: %w", err)
	}
	sample, err := json.Marshal(t.known)
	if err != nil {
		return checks.Run{}, fmt.Errorf("keeping what was seen: %w", err)
	}
	return checks.Run{Results: []checks.Result{t.result()}, Complete: true, Sample: sample}, nil
}

func (t *test) do(ctx context.Context) {
	if layer, err := t.local(ctx); err != nil {
		t.fail(layer, err)
		return
	}
	t.distant(ctx)
}

func (t *test) fail(layer string, err error) {
	t.failed = layer
	t.steps.Fail(layer, err)
}

func (t *test) result() checks.Result {
	r := checks.Result{Metrics: t.metrics()}
	switch {
	case t.steps.Err() != nil:
		r.Status, r.Summary, r.Evidence = checks.Critical, t.steps.Summary(), t.detail
	case t.answering < len(t.cfg.providers):
		r.Summary = text.Line(fmt.Sprintf("%d of %d providers answer, in %s; %s",
			t.answering, len(t.cfg.providers), outward.Seconds(t.steps.Total()), t.detail))
	default:
		r.Summary = fmt.Sprintf("%d of %d providers answer, in %s", t.answering, len(t.cfg.providers), outward.Seconds(t.steps.Total()))
	}
	return r
}

func (t *test) metrics() []checks.Metric {
	l := metric.List(t.steps.Metrics())
	works := len(layers)
	switch {
	case t.failed == "portal":
		works = len(layers) - 1
	case t.failed != "":
		works = slices.Index(layers, t.failed)
	}
	l.Gauge("layers", float64(works))
	if t.rtt > 0 {
		l.Gauge("gateway_seconds", t.rtt.Seconds())
	}
	if t.asked {
		l.Gauge("providers", float64(len(t.cfg.providers)))
		l.Gauge("providers_answering", float64(t.answering))
		l.Gauge("captive_portal", truth(t.portal))
	}
	return l
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
