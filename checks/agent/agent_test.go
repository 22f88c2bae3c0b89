package agent_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/agent"
	"github.com/wacht-io/wacht/checks/checktest"
)

func figures(_ context.Context) map[string]float64 {
	return map[string]float64{
		agent.SpoolRuns:              12,
		agent.SpoolBytes:             4096,
		agent.DroppedRunsTotal:       3,
		agent.ClockSkewSeconds:       -0.25,
		agent.CertificateLeftSeconds: 90 * 24 * 3600,
	}
}

func TestConformance(t *testing.T) {
	checktest.Run(t, agent.New(figures, "1.2.3"), checktest.Options{Discoverable: true})
}

func TestWithoutAgent(t *testing.T) {
	checktest.Run(t, agent.New(nil, ""), checktest.Options{Discoverable: true})
}

func run(t *testing.T, stats agent.Stats) (map[string]checks.Metric, string) {
	t.Helper()
	r, err := agent.New(stats, "1.2.3").Run(t.Context(), &checks.Env{})
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]checks.Metric)
	for _, m := range r.Results[0].Metrics {
		byName[m.Name] = m
	}
	return byName, r.Results[0].Summary
}

func TestFigures(t *testing.T) {
	got, summary := run(t, figures)
	for name, want := range figures(t.Context()) {
		if got[name].Value != want {
			t.Errorf("%s is %v, not %v", name, got[name].Value, want)
		}
	}
	for _, name := range agent.Figures() {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if got["info"].Labels[0].Value != "1.2.3" {
		t.Errorf("the version is not in %v", got["info"].Labels)
	}
	if got["cpu_seconds_total"].Value <= 0 || got["goroutines"].Value < 1 {
		t.Errorf("this process uses something, but: %v", got)
	}
	for _, part := range []string{"version 1.2.3", "12 runs in the spool", "3 runs dropped", "certificate ends in 90 d"} {
		if !strings.Contains(summary, part) {
			t.Errorf("%q is not in the summary %q", part, summary)
		}
	}
}

func TestEndedCertificate(t *testing.T) {
	_, summary := run(t, func(context.Context) map[string]float64 {
		return map[string]float64{agent.CertificateLeftSeconds: -7200}
	})
	if !strings.Contains(summary, "certificate ended 2 h ago") {
		t.Errorf("the summary is %q", summary)
	}
}

func TestUnknownFigure(t *testing.T) {
	stats := func(context.Context) map[string]float64 { return map[string]float64{"spool_size": 1} }
	_, err := agent.New(stats, "").Run(t.Context(), &checks.Env{})
	if err == nil || !strings.Contains(err.Error(), "spool_size") || !strings.Contains(err.Error(), agent.SpoolBytes) {
		t.Errorf("the error must name the figure and those there are, but is: %v", err)
	}
}
