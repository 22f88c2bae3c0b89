package expose

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/history/prometheustest"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// memory is a Source of given hosts and states.
type memory struct {
	hosts  []Host
	states map[string][]State
	broken error
	// careless makes it ignore the customer.
	careless bool
}

func (m *memory) Hosts(_ context.Context, customer string) ([]Host, error) {
	return slices.DeleteFunc(slices.Clone(m.hosts), func(h Host) bool { return !m.may(customer, h) }), m.broken
}

func (m *memory) Latest(_ context.Context, customer, id string) (Host, []State, error) {
	i := slices.IndexFunc(m.hosts, func(h Host) bool { return h.ID == id && m.may(customer, h) })
	if i < 0 || m.broken != nil {
		return Host{}, nil, errors.Join(ErrUnknownHost, m.broken)
	}
	return m.hosts[i], m.states[id], nil
}

func (m *memory) may(customer string, h Host) bool {
	return m.careless || customer == "" || customer == h.Customer
}

var seen = time.Unix(1_700_000_000, 250_000_000)

func example() *memory {
	hosts := []Host{
		{ID: "01B", Name: "web", Customer: "globex", Site: "east", Role: "server", OS: "linux", LastSeen: seen},
		{ID: "01A", Name: "db", Customer: "acme", Site: "main", Role: "server", OS: "linux", Connected: true, OpenIncidents: 2, LastSeen: seen,
			Labels: map[string]string{"rack-nr": "4"}},
	}
	states := []State{
		{Check: "disk", Item: `/va"r\n` + "\n\xff", Status: checks.OK, Level: rules.Warning, LastSeen: seen, Metrics: described("disk",
			checks.Metric{Name: "size_bytes", Value: 100e9}, checks.Metric{Name: "free_bytes", Value: 20e9}, checks.Metric{Name: "free_ratio", Value: 0.2},
		)},
		{Check: "disk", Item: "/", Status: checks.Critical, Level: rules.Critical, LastSeen: seen,
			Metrics: described("disk", checks.Metric{Name: "size_bytes", Value: 5e9})},
		{Check: "disk", Item: "/gone", Level: rules.Stale, LastSeen: seen, Metrics: described("disk", checks.Metric{Name: "size_bytes", Value: 1})},
		{Check: "diskio", Item: "sda", LastSeen: seen, Metrics: described("diskio",
			checks.Metric{Name: "read_bytes_total", Type: checks.Counter, Value: 12345},
			checks.Metric{Name: "odd", Value: 1, Labels: []checks.Label{{Name: "customer", Value: "globex"}}},
			checks.Metric{Name: "odd", Value: 2, Labels: []checks.Label{{Name: "customer", Value: "globex"}}},
			checks.Metric{Name: "bad name", Value: 1},
			checks.Metric{Name: "bad_label", Value: 1, Labels: []checks.Label{{Name: "a b", Value: "c"}}},
		)},
		{Check: "http", Instance: "webshop", LastSeen: seen},
	}
	return &memory{hosts: hosts, states: map[string][]State{"01A": states, "01B": {{Check: "http", LastSeen: seen}}}}
}

// described are metrics with what the check's declaration says of them.
func described(check string, ms ...checks.Metric) []Metric {
	out := make([]Metric, len(ms))
	for i, m := range ms {
		out[i].Metric = m
		if spec, err := checks.Declaration(check); err == nil && spec.Metric(m.Name) != nil {
			out[i].Help, out[i].Unit = spec.Metric(m.Name).Summary, spec.Metric(m.Name).Unit
		}
	}
	return out
}

func get(t *testing.T, h http.Handler, path string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHostMetrics(t *testing.T) {
	h := New(Options{Source: example()}).Handler("acme")
	code, body := get(t, h, "/metrics/hosts/01A")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	for _, line := range []string{
		"# HELP wacht_disk_size_bytes Size of the filesystem",
		"# TYPE wacht_disk_size_bytes gauge",
		`wacht_disk_size_bytes{check="disk",customer="acme",host="db",item="/va\"r\\n\n` + "\uFFFD" + `",site="main"} 1e+11`,
		"# TYPE wacht_diskio_read_bytes_total counter",
		`wacht_diskio_odd{check="diskio",customer="acme",exported_customer="globex",host="db",item="sda",site="main"} 1`,
		`wacht_check_status{check="disk",customer="acme",host="db",item="/",site="main"} 2`,
		`wacht_check_level{check="disk",customer="acme",host="db",item="/",site="main"} 2`,
		`wacht_check_level{check="disk",customer="acme",host="db",item="/gone",site="main"} 4`,
		`wacht_check_last_seen_timestamp_seconds{check="disk",customer="acme",host="db",item="/gone",site="main"} 1.70000000025e+09`,
		`wacht_check_level{check="http/webshop",customer="acme",host="db",site="main"} 0`,
		`wacht_host_info{customer="acme",host="db",host_id="01A",os="linux",role="server",site="main"} 1`,
		`wacht_host_connected{customer="acme",host="db",site="main"} 1`,
		`wacht_host_silent{customer="acme",host="db",site="main"} 0`,
		`wacht_host_open_incidents{customer="acme",host="db",site="main"} 2`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	for _, text := range []string{"bad", "} 2\nwacht_diskio_odd", `wacht_disk_size_bytes{check="disk",customer="acme",host="db",item="/gone"`, `wacht_check_status{check="disk",customer="acme",host="db",item="/gone"`} {
		if strings.Contains(body, text) {
			t.Errorf("shown, but must not be: %s", text)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestHostMetricsInOpenMetrics(t *testing.T) {
	h := New(Options{Source: example()}).Handler("acme")
	_, body := get(t, h, "/metrics/hosts/01A", "Accept", "application/openmetrics-text;version=1.0.0")
	for _, text := range []string{"# UNIT wacht_disk_size_bytes bytes\n", "# TYPE wacht_diskio_read_bytes counter\n", "\n# EOF\n"} {
		if !strings.Contains(body, text) {
			t.Errorf("missing: %q in\n%s", text, body)
		}
	}
}

// TestPromtoolAccepts lets promtool judge every metric that a built-in check declares.
func TestPromtoolAccepts(t *testing.T) {
	source := example()
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	var states []State
	for _, spec := range specs {
		s := State{Check: spec.Name, LastSeen: seen}
		for _, m := range spec.Metrics {
			kind := checks.Gauge
			if m.Type == "counter" {
				kind = checks.Counter
			}
			var labels []checks.Label
			for _, name := range m.Labels {
				labels = append(labels, checks.Label{Name: name, Value: "x"})
			}
			s.Metrics = append(s.Metrics, described(spec.Name, checks.Metric{Name: m.Name, Type: kind, Labels: labels})...)
		}
		states = append(states, s)
	}
	source.states["01A"] = states
	_, body := get(t, New(Options{Source: source}).HandlerOfAll(), "/metrics/hosts/01A")
	prometheustest.CheckMetrics(t, []byte(body))
}

func TestDiscovery(t *testing.T) {
	e := New(Options{Source: example(), Address: "wacht.example.org:7420", Scheme: "https"})
	code, body := get(t, e.Handler("acme"), "/sd")
	want := `[{"targets":["wacht.example.org:7420"],"labels":{"__meta_wacht_customer":"acme","__meta_wacht_host":"db",` +
		`"__meta_wacht_host_id":"01A","__meta_wacht_label_rack_nr":"4","__meta_wacht_os":"linux","__meta_wacht_role":"server",` +
		`"__meta_wacht_site":"main","__metrics_path__":"/metrics/hosts/01A","__scheme__":"https","instance":"01A"}}]`
	if code != http.StatusOK || body != want {
		t.Errorf("%d\n got %s\nwant %s", code, body, want)
	}
	_, body = get(t, New(Options{Source: example()}).HandlerOfAll(), "http://collector.example.org:7420/sd")
	var groups []group
	if err := json.Unmarshal([]byte(body), &groups); err != nil || len(groups) != 2 || groups[0].Targets[0] != "collector.example.org:7420" {
		t.Errorf("all: %v %s", err, body)
	}
}

// TestNobodySeesAnotherCustomer asks as each customer for each host, also of a source
// that forgets to look at the customer.
func TestNobodySeesAnotherCustomer(t *testing.T) {
	for _, careless := range []bool{false, true} {
		source := example()
		source.careless = careless
		e := New(Options{Source: source})
		for _, as := range []string{"acme", "globex", "nobody", ""} {
			_, sd := get(t, e.Handler(as), "/sd")
			for _, host := range source.hosts {
				own := host.Customer == as
				if strings.Contains(sd, host.ID) != own {
					t.Errorf("careless %v: /sd as %q: %s", careless, as, sd)
				}
				if code, body := get(t, e.Handler(as), "/metrics/hosts/"+host.ID); (code == http.StatusOK) != own || (!own && code != http.StatusNotFound) {
					t.Errorf("careless %v: host %s as %q: %d %s", careless, host.ID, as, code, body)
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	broken := &memory{broken: errors.New("the secret reason")}
	for path, want := range map[string]int{
		"/metrics/hosts/none": http.StatusNotFound, "/metrics/hosts/": http.StatusNotFound, "/metrics": http.StatusNotFound,
		"/metrics/hosts/" + url.PathEscape("../01A"): http.StatusNotFound,
	} {
		if code, body := get(t, New(Options{Source: example()}).HandlerOfAll(), path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, body := get(t, New(Options{Source: broken}).HandlerOfAll(), "/sd"); code != http.StatusInternalServerError || strings.Contains(body, "secret") {
		t.Errorf("broken source: %d %s", code, body)
	}
}

func TestOwnMetrics(t *testing.T) {
	r := NewRegistry("1.2.3")
	r.MustRegister(collectors.NewBuildInfoCollector())
	failing := prometheus.NewInvalidMetric(prometheus.NewDesc("wacht_broken", "h", nil, nil), errors.New("broken"))
	code, body := get(t, Own(r, slog.New(slog.DiscardHandler)), "/metrics")
	if code != http.StatusOK || !strings.Contains(body, `wacht_build_info{version="1.2.3"} 1`) || !strings.Contains(body, "go_goroutines ") {
		t.Errorf("%d %s", code, body)
	}
	prometheustest.CheckMetrics(t, []byte(body))
	r.MustRegister(one{failing})
	if code, body := get(t, Own(r, slog.New(slog.DiscardHandler)), "/metrics"); code != http.StatusOK || !strings.Contains(body, "wacht_build_info") {
		t.Errorf("with a metric that fails: %d %s", code, body)
	}
}

// one is a collector of one metric.
type one struct{ prometheus.Metric }

func (o one) Describe(ch chan<- *prometheus.Desc) { ch <- o.Desc() }
func (o one) Collect(ch chan<- prometheus.Metric) { ch <- o.Metric }

// TestPrometheusScrapes lets a real Prometheus find the hosts and scrape them.
func TestPrometheusScrapes(t *testing.T) {
	scraped := make(chan string, 100)
	h := New(Options{Source: example()}).HandlerOfAll()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/metrics/") {
			select {
			case scraped <- r.URL.Path:
			default:
			}
		}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	address := prometheustest.Start(t, t.TempDir(), `
global: {scrape_interval: 250ms, scrape_timeout: 250ms}
scrape_configs:
- job_name: wacht
  http_sd_configs: [{url: "`+server.URL+`/sd"}]
  relabel_configs: [{source_labels: [__meta_wacht_customer], target_label: of}]
`)
	// A host's third scrape begins when its first two are in the database.
	for count := map[string]int{}; count["/metrics/hosts/01A"] < 3 || count["/metrics/hosts/01B"] < 3; {
		count[<-scraped]++
	}
	for query, want := range map[string]string{
		`up == 1`:                              `{"__name__":"up","instance":"01A","job":"wacht","of":"acme"}`,
		`up{of="globex"}`:                      `"value":[`,
		`wacht_disk_free_bytes{host="db"}`:     `"20000000000"`,
		`wacht_check_level{item="/gone"}`:      `"4"`,
		`count(wacht_host_info) by (__name__)`: `"2"`,
	} {
		resp, err := http.Get(address + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			t.Fatal(err)
		}
		var body json.RawMessage
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, want %s", query, body, want)
		}
	}
}
