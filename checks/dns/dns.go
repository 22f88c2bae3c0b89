// Package dns asks resolvers for a name, as every program does before it does anything
// else over a network, and verifies what they answer.
package dns

import (
	"context"
	"fmt"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("dns")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds the resolvers that the machine itself asks.
func (*check) Discover(ctx context.Context, _ *checks.Env) ([]checks.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := systemResolvers(resolvConf)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	items := make([]string, len(found))
	for i, r := range found {
		items[i] = r.item
	}
	return []checks.Instance{{Items: items}}, nil
}

// Run asks every resolver once.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(ctx, env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	inTime, cancel := outward.Deadline(ctx)
	defer cancel()
	results := make([]checks.Result, len(cfg.resolvers))
	outward.Each(len(results), func(i int) {
		l := lookup{cfg: cfg, at: cfg.resolvers[i]}
		l.do(inTime)
		results[i] = l.result()
	})
	if err := ctx.Err(); err != nil {
		return checks.Run{}, fmt.Errorf("waiting for answers: %w", err)
	}
	return checks.Run{Results: results, Complete: true}, nil
}

// result tells what a lookup found.
func (l *lookup) result() checks.Result {
	r := checks.Result{Item: l.at.item, Metrics: l.metrics()}
	if l.steps.Err() != nil {
		r.Status, r.Summary, r.Evidence = checks.Critical, l.steps.Summary(), l.evidence()
		return r
	}
	const shown = 3
	var values []string
	for _, v := range l.values[:min(len(l.values), shown)] {
		values = append(values, text.Cut(v, 80))
	}
	if more := len(l.values) - shown; more > 0 {
		values = append(values, fmt.Sprintf("and %d more", more))
	}
	r.Summary = text.Line(fmt.Sprintf("%s is %s, in %s", l.cfg.name, strings.Join(values, ", "), outward.Seconds(l.steps.Total())))
	r.Metrics = append(r.Metrics, checks.Metric{Name: "duration_seconds", Value: l.steps.Total().Seconds()})
	return r
}

func (l *lookup) metrics() []checks.Metric {
	var out metric.List
	for _, m := range l.steps.Metrics() {
		if m.Name == "query_seconds" || m.Name == "tcp_seconds" { // the others take no time
			out = append(out, m)
		}
	}
	if l.queries > 0 {
		out.Gauge("queries", float64(l.queries))
	}
	if l.answer == nil {
		return out
	}
	out.Gauge("response_code", float64(l.answer.Rcode))
	out.Gauge("records", float64(len(l.values)))
	out.Gauge("authoritative", truth(l.answer.Authoritative))
	if len(l.values) > 0 {
		out.Gauge("ttl_seconds", float64(l.ttl))
	}
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// evidence shows the answer that was wrong.
func (l *lookup) evidence() string {
	if l.answer == nil {
		return ""
	}
	const most = 1000
	return fmt.Sprintf("%.*s", most, strings.ToValidUTF8(l.answer.String(), "?"))
}
