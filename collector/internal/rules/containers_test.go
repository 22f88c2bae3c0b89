package rules_test

import (
	"maps"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// TestRulesOfContainers judges what the plugin for containers measures by the rules that
// it brings along.
func TestRulesOfContainers(t *testing.T) {
	data, err := os.ReadFile("../../../plugins/cmd/wacht-plugin-containers/containers/check.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := checks.ParseSpec(data)
	if err != nil {
		t.Fatal(err)
	}
	at := func(section, name, field string) rules.Origin { return rules.Origin{} }
	b, err := rules.NewBook([]rules.Declaration{{Spec: spec, At: at}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lives := values{"running": 1, "expected": 1, "restarting": 0, "paused": 0, "oom_killed": 0, "restarts_total": 0}
	with := func(more values) values {
		v := values{}
		for _, m := range []values{lives, more} {
			maps.Copy(v, m)
		}
		return v
	}
	for _, tt := range []struct {
		name string
		runs []values
		want []string
	}{
		{"runs", []values{lives, lives, lives}, nil},
		{"runs and is healthy", []values{with(values{"healthy": 1, "image_age_seconds": 86400})}, nil},
		{"stopped for a moment", []values{with(values{"running": 0, "exit_code": 0}), lives}, nil},
		{"stopped though it should run", []values{with(values{"running": 0, "exit_code": 0}), with(values{"running": 0, "exit_code": 0})}, []string{"stopped ok→critical"}},
		{"and runs again", []values{with(values{"running": 0, "exit_code": 0}), with(values{"running": 0, "exit_code": 0}), lives}, []string{"stopped ok→critical", "stopped critical→ok"}},
		{"a job that is done", []values{with(values{"running": 0, "expected": 0, "exit_code": 0}), with(values{"running": 0, "expected": 0, "exit_code": 0})}, nil},
		{"a job that failed", []values{with(values{"running": 0, "expected": 0, "exit_code": 3})}, []string{"failed ok→warning"}},
		{"a job that somebody stopped", []values{with(values{"running": 0, "expected": 0, "exit_code": 143})}, nil},
		{"unhealthy", []values{with(values{"healthy": 0})}, []string{"unhealthy ok→critical"}},
		{"unhealthy, then ended", []values{with(values{"healthy": 0}), with(values{"running": 0, "expected": 0, "exit_code": 0})}, []string{"unhealthy ok→critical", "unhealthy critical→ok"}},
		{"a restart loop", []values{with(values{"restarting": 1}), with(values{"restarting": 1, "running": 0}), with(values{"restarting": 1})}, []string{"restarting ok→warning"}},
		{"one restart", []values{with(values{"restarting": 1}), lives, lives}, nil},
		{"out of memory", []values{with(values{"running": 0, "expected": 0, "exit_code": 137, "oom_killed": 1})}, []string{"oom_killed ok→critical"}},
		{"an old image", []values{with(values{"image_age_seconds": 181 * 86400})}, []string{"old_image ok→warning"}},
		{"an engine that does not answer", []values{{"up": 0}, {"up": 0}}, []string{"engine ok→critical"}},
		{"an engine that does", []values{{"up": 1}, {"up": 1}}, nil},
	} {
		var cols []rules.Column
		for _, m := range spec.Metrics {
			if len(m.Labels) == 0 {
				cols = append(cols, rules.Column{Name: m.Name})
			}
		}
		p, err := b.Program(rules.Subject{Customer: "demo", Host: "web1", Role: "server", Check: "containers", Item: "web"}, cols)
		if err != nil {
			t.Fatal(err)
		}
		var m rules.Machine
		var got []rules.Transition
		for i, run := range tt.runs {
			row := make([]float64, len(cols))
			for c := range cols {
				row[c] = math.NaN()
				if x, ok := run[cols[c].Name]; ok {
					row[c] = x
				}
			}
			now := start.Add(time.Duration(i) * minute)
			got, _ = p.Judge(&m, &rules.Observation{Values: row, Received: now, Planned: now, NextWithin: 2 * minute}, got)
		}
		if !slices.Equal(texts(got), tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, texts(got), tt.want)
		}
	}
}
