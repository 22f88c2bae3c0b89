// Package http checks that a web page or interface answers as it should: each step
// from the name to the content is timed, and the first that fails is named.
package http

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("http")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds nothing: only a person knows which pages matter.
func (*check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

// Run asks once.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(env)
	if err != nil {
		return checks.Run{}, err
	}
	ctx, cancel := outward.Deadline(ctx)
	defer cancel()
	start := time.Now()
	f := newFetch(cfg)
	failure := f.get(ctx)
	took := time.Since(start)
	result := checks.Result{Metrics: f.metrics(start)}
	if failure != nil {
		result.Status = checks.Critical
		result.Summary = text.Line(fmt.Sprintf("%s failed: %v", f.trace.current(), failure))
		result.Evidence = f.evidence()
	} else {
		result.Summary = fmt.Sprintf("status %d, %s in %s", f.status, text.Bytes(int64(len(f.body))), outward.Seconds(took))
		result.Metrics = append(result.Metrics, checks.Metric{Name: "duration_seconds", Value: took.Seconds()})
	}
	return checks.Run{Results: []checks.Result{result}, Complete: true}, nil
}

// metrics gives what is known of the fetch, also of one that failed.
func (f *fetch) metrics(now time.Time) []checks.Metric {
	var l metric.List
	f.trace.each(func(step string, d time.Duration) { l.Gauge(step+"_seconds", d.Seconds()) })
	if f.status != 0 {
		l.Gauge("status_code", float64(f.status))
		l.Gauge("redirects", float64(f.redirects))
		l.Gauge("body_bytes", float64(len(f.body)))
	}
	if !f.notAfter.IsZero() {
		l.Gauge("certificate_remaining_seconds", f.notAfter.Sub(now).Seconds())
	}
	return l
}

// evidence shows the beginning of a wrong answer, less the credential, should the
// server have sent it back.
func (f *fetch) evidence() string {
	if f.status == 0 {
		return ""
	}
	const shown = 400
	body, kind := f.cfg.hide(f.body), f.cfg.hide([]byte(f.contentType))
	return fmt.Sprintf("status %d, content type %.100q, body: %.*q", f.status, kind, shown, body)
}

// expected says whether the status is right, and which would be.
func (cfg *config) expected(status int) error {
	if slices.Contains(cfg.statuses, strconv.Itoa(status)) {
		return nil
	}
	return fmt.Errorf("the answer is %d, expected %v", status, cfg.statuses)
}
