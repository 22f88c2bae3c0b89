package grafana

import (
	"os"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
)

// examples are values of the variables that the queries use.
var examples = map[string]string{
	"customer": "example", "site": "lab", "host": "db", "instance": "127.0.0.1:7420", "__rate_interval": "5m",
}

func dashboards(t *testing.T) map[string]Dashboard {
	t.Helper()
	all, err := ReadDashboards("dashboards")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("there are no dashboards")
	}
	return all
}

func TestQueriesParse(t *testing.T) {
	for name, d := range dashboards(t) {
		for _, panel := range d.Panels {
			if len(panel.Queries) == 0 || panel.Title == "" {
				t.Errorf("%s: a panel %q with %d queries", name, panel.Title, len(panel.Queries))
			}
			for _, query := range panel.Queries {
				if _, err := parser.ParseExpr(Fill(query, examples)); err != nil {
					t.Errorf("%s, %s: %v", name, panel.Title, err)
				}
			}
		}
		for _, v := range d.Variables {
			selector, _, ok := v.LabelValues()
			if v.Type == "query" && !ok {
				t.Errorf("%s: variable %s asks for %q, not for label_values", name, v.Name, v.Query)
			}
			if selector == "" {
				continue
			}
			if _, err := parser.ParseMetricSelector(Fill(selector, examples)); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
	}
}

// TestSources holds the dashboards to the data sources that are set up for them.
func TestSources(t *testing.T) {
	sources, err := ReadSources("provisioning/datasources/wacht.yaml")
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]bool{}
	for name, d := range dashboards(t) {
		if d.UID+".json" != name || d.Title == "" || uids[d.UID] {
			t.Errorf("%s: uid %q, title %q", name, d.UID, d.Title)
		}
		uids[d.UID] = true
		if !slices.ContainsFunc(sources, func(s Source) bool { return s.UID == d.Source && s.Type == "prometheus" && s.URL != "" }) {
			t.Errorf("%s uses data source %q, which the provisioning file does not set up: %v", name, d.Source, sources)
		}
		for _, panel := range d.Panels {
			if panel.Source != "${datasource}" {
				t.Errorf("%s, %s: data source %q is not the one that the reader chose", name, panel.Title, panel.Source)
			}
		}
	}
}

func TestProvider(t *testing.T) {
	text, err := os.ReadFile("provisioning/dashboards/wacht.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type string
			Options            struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if f.APIVersion != 1 || len(f.Providers) != 1 || f.Providers[0].Type != "file" || f.Providers[0].Options.Path == "" {
		t.Errorf("%+v", f)
	}
}

// TestHostNeedsTheCollectorAlone: the dashboard of a host asks only for what checks
// measure, which the collector's own PromQL answers.
func TestHostNeedsTheCollectorAlone(t *testing.T) {
	declared, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := os.ReadFile("../../plugins/cmd/wacht-plugin-containers/containers/check.yaml")
	if err != nil {
		t.Fatal(err)
	}
	containers, err := checks.ParseSpec(plugin)
	if err != nil {
		t.Fatal(err)
	}
	declared = append(declared, containers)
	known := map[string]bool{}
	for _, spec := range declared {
		for _, m := range spec.Metrics {
			known["wacht_"+spec.Name+"_"+m.Name] = true
		}
	}
	asked := 0
	for _, panel := range dashboards(t)["wacht-host.json"].Panels {
		for _, query := range panel.Queries {
			for _, metric := range metrics(t, Fill(query, examples)) {
				asked++
				if !known[metric] {
					t.Errorf("%s: no check declares %s", panel.Title, metric)
				}
			}
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks for nothing")
	}
}

// metrics are the names of the metrics that a query selects.
func metrics(t *testing.T, query string) []string {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			names = append(names, s.Name)
		}
		return nil
	})
	return names
}
