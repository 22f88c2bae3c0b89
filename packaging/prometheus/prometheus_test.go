package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// promtool runs Debian's promtool, which must be content.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: apt-get install prometheus)")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func files(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.yml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	return names
}

func TestRules(t *testing.T) {
	promtool(t, append([]string{"check", "rules"}, files(t, "rules")...)...)
	promtool(t, append([]string{"test", "rules"}, files(t, "tests")...)...)
}

// TestConfig checks the example as it would be installed, with its token and rules.
func TestConfig(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "rules"), os.DirFS("rules")); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"prometheus.yml": example, "wacht.token": []byte("wacht_api_example")} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, "check", "config", filepath.Join(folder, "prometheus.yml"))
}

// rules is the part of a rule file, and of its test, that names rules.
type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Record string
			Labels        map[string]string
			Annotations   map[string]string
		}
	}
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		PromqlExprTest []struct {
			Expr       string
			ExpSamples []any `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

func read(t *testing.T, names []string) []rules {
	t.Helper()
	var all []rules
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r rules
		if err := yaml.Unmarshal(text, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, r)
	}
	return all
}

// TestEveryRuleIsTested: each alert is seen to fire, and to be quiet, and each recorded
// series to have a value. The watchdog is never quiet.
func TestEveryRuleIsTested(t *testing.T) {
	fires, quiet := map[string]bool{"WachtWatchdog": false}, map[string]bool{"WachtWatchdog": true}
	var exprs []string
	for _, r := range read(t, files(t, "tests")) {
		for _, test := range r.Tests {
			for _, a := range test.AlertRuleTest {
				fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
				quiet[a.Alertname] = quiet[a.Alertname] || len(a.ExpAlerts) == 0
			}
			for _, e := range test.PromqlExprTest {
				if len(e.ExpSamples) > 0 {
					exprs = append(exprs, e.Expr)
				}
			}
		}
	}
	for _, r := range read(t, files(t, "rules")) {
		for _, group := range r.Groups {
			for _, rule := range group.Rules {
				switch {
				case rule.Alert != "" && (!fires[rule.Alert] || !quiet[rule.Alert]):
					t.Errorf("alert %s: tested to fire %v, to be quiet %v", rule.Alert, fires[rule.Alert], quiet[rule.Alert])
				case rule.Alert != "" && (rule.Labels["severity"] == "" || rule.Annotations["summary"] == ""):
					t.Errorf("alert %s has no severity or no summary", rule.Alert)
				case rule.Record != "" && !slices.ContainsFunc(exprs, func(e string) bool { return strings.Contains(e, rule.Record) }):
					t.Errorf("%s: no test shows its values", rule.Record)
				}
			}
		}
	}
}
