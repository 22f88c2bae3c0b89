// Package command runs programs of the Monitoring Plugins kind
// (https://www.monitoring-plugins.org/doc/guidelines.html), which judge for
// themselves: those that the machine's own file lists, by path and digest. Their exit
// code is the status, their first line the summary, their performance data metrics.
package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("command")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds nothing by itself: what may run is what the machine's own file lists,
// and each program there is an instance.
func (*check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

// Run runs the program once.
func (*check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	digest, err := sandbox.ParseDigest(env.Params.String("sha256"))
	if err != nil {
		return checks.Run{}, fmt.Errorf("parameter sha256: %w", err)
	}
	args, hide, err := expand(env.Params.Strings("args"), env.Secrets)
	if err != nil {
		return checks.Run{}, fmt.Errorf("parameter args: %w", err)
	}
	began := time.Now()
	out, err := env.Sandbox.Exec(ctx, checks.Command{Path: env.Params.String("path"), Args: args, SHA256: &digest})
	if err != nil {
		return checks.Run{}, hide.error(err)
	}
	took := time.Since(began)
	result := judge(out.ExitCode, hide.text(string(out.Stdout)), hide.text(string(out.Stderr)))
	result.Metrics = append(result.Metrics, checks.Metric{Name: "duration_seconds", Value: took.Seconds()})
	return checks.Run{Results: []checks.Result{result}, Complete: true}, nil
}

// judge makes a result of what a program that ended left.
func judge(code int, stdout, stderr string) checks.Result {
	out := ParseOutput(stdout)
	stderr = strings.TrimSpace(printable(stderr))
	summary := out.Summary
	if summary == "" {
		summary, _, _ = strings.Cut(stderr, "\n")
	}
	if summary == "" {
		summary = "the program wrote nothing"
	}
	status := checks.Unknown
	if code >= 0 && code <= int(checks.Unknown) {
		status = checks.Status(code)
	} else {
		summary = fmt.Sprintf("the program ended with exit code %d, which is none of 0 to 3: %s", code, summary)
	}
	metrics, left := metricsOf(out.Perf)
	return checks.Result{
		Status:   status,
		Summary:  cut(summary, checks.MaxSummaryBytes),
		Metrics:  metrics,
		Evidence: evidence(status, out.Long, stderr, left),
	}
}

// evidence joins the lines after the first with, when something is wrong, what the
// program complained of.
func evidence(status checks.Status, long, stderr string, left int) string {
	parts := make([]string, 0, 3)
	if left > 0 {
		parts = append(parts, fmt.Sprintf("(%d figures are left out: too many, twice the same name, or a name above %d bytes)", left, checks.MaxItemBytes))
	}
	if long != "" {
		parts = append(parts, long)
	}
	if stderr != "" && status != checks.OK {
		parts = append(parts, "standard error: "+stderr)
	}
	return cut(strings.Join(parts, "\n"), checks.MaxEvidenceBytes)
}

// maxMetrics leaves room for the check's own.
const maxMetrics = checks.MaxMetrics - 1

// metricsOf are the figures with all their bounds as far as there is room: values
// first. Left counts the figures that are left out whole.
func metricsOf(perf []Perf) (out []checks.Metric, left int) {
	var bounds []checks.Metric
	seen := make(map[string]bool, len(perf))
	for i := range perf {
		p := &perf[i]
		if seen[p.Label] || len(p.Label) > checks.MaxItemBytes || len(out) == maxMetrics {
			left++
			continue
		}
		seen[p.Label] = true
		value, more := p.metrics()
		out, bounds = append(out, value), append(bounds, more...)
	}
	return append(out, bounds[:min(len(bounds), maxMetrics-len(out))]...), left
}
