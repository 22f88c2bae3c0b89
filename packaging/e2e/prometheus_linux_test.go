package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/wacht-io/wacht/packaging/grafana"
)

// everyTwoSeconds lets every check run often enough for a test to see it change.
const everyTwoSeconds = "- match: {}\n  checks:\n    \"*\": {interval: 2s, timeout: 2s}\n"

// Debian's Prometheus, configured as packaging/prometheus shows it, finds a host through
// the collector and answers its values; its alerts look at the collector; and every
// query of the Grafana dashboards is answered by the data source it is meant for.
func TestPrometheusAndGrafana(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everyTwoSeconds, config: "notify: [{name: desk, type: smtp, host: 127.0.0.1, port: 1, from: wacht@example.com, to: [desk@example.com]}]\n"})
	m := join(t, s, "", "")
	m.run()
	await(t, "a disk", func() bool { return s.level(m.host, "/") != "" })

	p := startPrometheus(t, s, "wacht_api_wrong")
	await(t, "refusals of a wrong token", p.refused)
	write(t, p.token, s.order("apitoken", "create", "--role", "engineer"))
	host := s.host(m.host)
	where := fmt.Sprintf(`{customer="example",site="lab",host=%q,item="/"}`, host.Name)
	await(t, "the host's values", func() bool {
		return len(p.query("count_over_time(wacht_disk_free_bytes"+where+"[1m]) > 5 and wacht_disk_size_bytes"+where+" > 0")) == 1
	})
	t.Run("labels", func(t *testing.T) {
		at := p.query("wacht_host_connected == 1")
		if len(at) != 1 || at[0].Metric["instance"] != model.LabelValue(m.host) || at[0].Metric["job"] != "wacht-hosts" {
			t.Errorf("the connected hosts are %v", at)
		}
	})
	t.Run("rules", p.rules)
	t.Run("dashboards", func(t *testing.T) { p.dashboards(t, s, host.Name) })

	s.kill()
	await(t, "the alert about a collector that is down", func() bool {
		return len(p.query(`ALERTS{alertname="WachtCollectorDown",severity="page"}`)) == 1
	})
}

// prometheus is Debian's, running.
type prometheus struct {
	*program

	t       *testing.T
	address string // a URL
	token   string // the file with the token that it shows
}

// startPrometheus runs Prometheus on the files of packaging/prometheus, with the
// collector's address and, for the minutes in the example, seconds.
func startPrometheus(t *testing.T, s *server, token string) *prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed (Debian: apt-get install prometheus)")
	}
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "rules"), os.DirFS("../prometheus/rules")); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("127.0.0.1:7420", s.web, "interval: 1m", "interval: 1s").Replace(string(example))
	write(t, filepath.Join(folder, "prometheus.yml"), config)
	p := &prometheus{t: t, token: filepath.Join(folder, "wacht.token")}
	write(t, p.token, token)
	p.program = launchAt(t, path, "--config.file="+filepath.Join(folder, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address=127.0.0.1:0")
	p.says("Server is ready")
	p.address = "http://" + regexp.MustCompile(`Listening on" address=(\S+)`).FindStringSubmatch(p.log.String())[1]
	return p
}

// ask gives the data of an answer of Prometheus, or of the collector, which answers as
// Prometheus does.
func ask(t *testing.T, address, token, path string, query url.Values, data any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v: %s: %s %v", path, query, resp.Status, answer.Error, err)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		t.Fatalf("%s %v: %v", path, query, err)
	}
}

// query evaluates an expression that gives a vector.
func (p *prometheus) query(expr string) model.Vector {
	p.t.Helper()
	return vector(p.t, p.address, "", expr)
}

func vector(t *testing.T, address, token, expr string) model.Vector {
	t.Helper()
	var data struct{ Result model.Vector }
	ask(t, address, token, "/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// refused says whether the collector refuses, for want of a good token, both its own
// metrics and the list of hosts.
func (p *prometheus) refused() bool {
	var data struct{ ActiveTargets []struct{ LastError string } }
	ask(p.t, p.address, "", "/api/v1/targets", nil, &data)
	return len(data.ActiveTargets) == 1 && strings.Contains(data.ActiveTargets[0].LastError, "401") &&
		strings.Contains(p.log.String(), "Unable to refresh target groups\" err=\"server returned HTTP status 401")
}

// rules holds that all rules are evaluated, and that of the alerts about the collector
// only the one that always fires does.
func (p *prometheus) rules(t *testing.T) {
	await(t, "the rules", func() bool {
		return len(p.query(`count(ALERTS{alertname="WachtWatchdog"}) and count({__name__="customer:wacht_hosts:count"} == 1)`)) == 1
	})
	var data struct {
		Groups []struct {
			Name  string
			Rules []struct{ Name, Health, LastError string }
		}
	}
	ask(t, p.address, "", "/api/v1/rules", nil, &data)
	if len(data.Groups) < 5 {
		t.Errorf("Prometheus has only these groups of rules: %v", data.Groups)
	}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			// A group that is evaluated every 5 minutes may have had no turn yet.
			if rule.Health != "ok" && rule.Health != "unknown" {
				t.Errorf("%s, %s: %s: %s", group.Name, rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if firing := p.query(`ALERTS{alertname=~"WachtCollector.*",alertstate="firing"}`); len(firing) != 0 {
		t.Errorf("firing: %v", firing)
	}
}

// dashboards asks every query of every dashboard. What a panel must show is a metric
// that the data source has; a comparison may well leave nothing.
func (p *prometheus) dashboards(t *testing.T, s *server, host string) {
	all, err := grafana.ReadDashboards("../grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	token := s.order("apitoken", "create", "--role", "engineer", "--name", "grafana")
	sources := map[string]struct{ address, token string }{
		"wacht-prometheus": {p.address, ""},
		"wacht":            {"http://" + s.web, token},
	}
	values := map[string]string{
		"customer": "example", "site": "lab", "host": host, "instance": s.web, "__rate_interval": "20s",
	}
	for name, d := range all {
		source := sources[d.Source]
		var have []string
		ask(t, source.address, source.token, "/api/v1/label/__name__/values", nil, &have)
		for _, v := range d.Variables {
			if selector, label, ok := v.LabelValues(); ok {
				offers(t, source.address, source.token, grafana.Fill(selector, values), label, values[v.Name])
			}
		}
		answered := 0
		for _, panel := range d.Panels {
			for _, query := range panel.Queries {
				query = grafana.Fill(query, values)
				got := vector(t, source.address, source.token, query)
				if len(got) == 0 && shows(t, query, have) {
					t.Errorf("%s, %s: nothing answers %s", name, panel.Title, query)
				}
				if len(got) > 0 {
					answered++
				}
			}
		}
		t.Logf("%s: %d queries show something here", name, answered)
		if answered < 10 {
			t.Errorf("%s: only %d queries show something", name, answered)
		}
	}
}

// offers holds that a variable of a dashboard can be given its value.
func offers(t *testing.T, address, token, selector, label, value string) {
	t.Helper()
	query := url.Values{}
	if selector != "" {
		query.Set("match[]", selector)
	}
	var offered []string
	ask(t, address, token, "/api/v1/label/"+label+"/values", query, &offered)
	if !slices.Contains(offered, value) {
		t.Errorf("%s of %q offers %v, not %q", label, selector, offered, value)
	}
}

// shows says whether a query must give something of metrics that there are. It holds
// every name to what the collector exposes or a check declares, and that is what there
// is here, but for checks that find nothing on this machine.
func shows(t *testing.T, query string, have []string) bool {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Fatal(err)
	}
	must := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			must = must && slices.Contains(have, n.Name)
			if !slices.Contains(have, n.Name) && !absentHere.MatchString(n.Name) {
				t.Errorf("there is no metric %s, which is asked for by %s", n.Name, query)
			}
		case *parser.BinaryExpr:
			must = must && !n.Op.IsComparisonOperator() && !n.Op.IsSetOperator()
		}
		return nil
	})
	return must
}

// absentHere are metrics of checks, which a test beside the dashboards holds to the
// declarations: their check may find nothing on this machine.
var absentHere = regexp.MustCompile(`^wacht_(cpu|memory|disk|diskio|ping|http|tcp|certificate|service|smart|uptime|containers)_`)
