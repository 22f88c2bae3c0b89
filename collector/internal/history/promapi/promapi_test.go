package promapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/history/prometheustest"
)

// base is the newest tick in the filled store.
var base = time.Now().Add(-10 * time.Minute).Truncate(time.Minute)

// fill writes three hours of two customers, some of it out of order.
func fill(t testing.TB) (*history.Store, string) { return fillFor(t, "acme", "globex") }

func fillFor(t testing.TB, customers ...string) (*history.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := history.Open(dir, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := s.Begin()
	for _, customer := range customers {
		for host := range 3 {
			of := history.Subject{Customer: customer, Site: "main", Host: fmt.Sprintf("%s-%d", customer, host), Check: "disk", Item: "/"}
			free := s.Series("free_bytes", of)
			ratio := s.Series("free_ratio", of)
			sent := s.Series("sent_bytes_total", history.Subject{Customer: customer, Site: "main", Host: of.Host, Check: "net"},
				checks.Label{Name: "direction", Value: `"<&>` + customer})
			for _, i := range order(180) {
				at := base.Add(time.Duration(i-179) * time.Minute).UnixMilli()
				for series, v := range map[*history.Series]float64{
					free:  1e12 - float64(i*i)*float64(host+1)*float64(len(customer))*1e6,
					ratio: math.Abs(math.Sin(float64(i+host))) * 1e-7,
					sent:  float64(i%90) * 1e21 / 7,
				} {
					if err := b.Append(series, at, v); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// order is 0 … n-1, with the middle third last.
func order(n int) (all []int) {
	for _, part := range [][2]int{{0, n / 3}, {2 * n / 3, n}, {n / 3, 2 * n / 3}} {
		for i := part[0]; i < part[1]; i++ {
			all = append(all, i)
		}
	}
	return all
}

type reply struct {
	Code      int
	Status    string `json:"status"`
	Data      any    `json:"data"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
}

func decode(t *testing.T, code int, body []byte) reply {
	t.Helper()
	r := reply{Code: code}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

func ask(t *testing.T, h http.Handler, pathAndQuery string) reply {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, pathAndQuery, nil))
	return decode(t, w.Code, w.Body.Bytes())
}

func instant(q string) string {
	return "/api/v1/query?" + url.Values{"query": {q}, "time": {unix(base.Add(7 * time.Second))}}.Encode()
}

func ranged(q, step string) string {
	return "/api/v1/query_range?" + url.Values{
		"query": {q}, "start": {unix(base.Add(-100*time.Minute + 7*time.Second))}, "end": {unix(base)}, "step": {step},
	}.Encode()
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func match(path string, selectors ...string) string {
	return path + "?" + url.Values{"match[]": selectors}.Encode()
}

// TestAnswersAsPrometheusDoes lets Debian's Prometheus answer the same questions from
// the same files. Evaluation times lie off the ticks: Prometheus 3 made ranges open to
// the left, which is the one thing in which it counts otherwise than 2.
func TestAnswersAsPrometheusDoes(t *testing.T) {
	s, dir := fill(t)
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, "tsdb"))); err != nil {
		t.Fatal(err)
	}
	genuine := prometheustest.Start(t, copied, "storage: {tsdb: {out_of_order_time_window: 4d}}\n")
	ours := New(s, Options{}).HandlerOfAll()
	for _, question := range []string{
		instant(`wacht_disk_free_bytes`),
		instant(`wacht_disk_free_bytes{customer="acme"} / 1e9`),
		instant(`wacht_disk_free_ratio`),
		instant(`sum by (customer) (rate(wacht_net_sent_bytes_total[7m]))`),
		instant(`topk(2, wacht_disk_free_bytes)`),
		instant(`sort(wacht_disk_free_bytes)`),
		instant(`wacht_disk_free_bytes[5m]`),
		instant(`predict_linear(wacht_disk_free_bytes[1h], 86400)`),
		instant(`quantile_over_time(0.9, wacht_disk_free_ratio[30m:2m])`),
		instant(`count({__name__=~"wacht_.+"}) by (__name__)`),
		instant(`label_replace(wacht_disk_free_bytes, "x", "$1", "host", "(.)cme-(.)")`),
		instant(`wacht_disk_free_bytes offset 1h`),
		instant(`wacht_disk_free_bytes @ ` + unix(base.Add(-time.Hour))),
		instant(`absent(nothing)`), instant(`nothing`), instant(`scalar(nothing)`), instant(`vector(-1/0)`),
		instant(`1+1`), instant(`"text <&> "`),
		ranged(`wacht_disk_free_bytes`, "60"), ranged(`avg_over_time(wacht_disk_free_ratio[10m])`, "90s"),
		ranged(`wacht_disk_free_bytes > 9.9e11`, "1m"), ranged(`42`, "10m"), ranged(`nothing`, "10m"),
		match("/api/v1/series", `wacht_disk_free_bytes`), match("/api/v1/series", `{host="acme-0"}`, `{host="acme-1"}`), match("/api/v1/series", `nothing`),
		"/api/v1/labels", match("/api/v1/labels", `wacht_net_sent_bytes_total`), match("/api/v1/labels", `{a="b"}`, `{check="disk"}`),
		"/api/v1/label/host/values", match("/api/v1/label/direction/values", `{customer="acme"}`), match("/api/v1/label/__name__/values", `{check="net"}`, `{check="disk"}`),
		"/api/v1/label/nothing/values", "/api/v1/labels?end=1",
		// Refusals.
		"/api/v1/series", "/api/v1/query?query=1&time=x", "/api/v1/query?query=1&timeout=x",
		"/api/v1/query_range?query=up&start=10&end=5&step=1", "/api/v1/query_range?query=up&start=0&end=20000&step=1",
		"/api/v1/query_range?query=up&start=0&end=20&step=0", "/api/v1/query_range?query=up&start=0&end=20&step=x",
		instant(`wacht_disk_free_bytes * on(site) wacht_disk_free_ratio`),
		match("/api/v1/series", `{a=""}`), match("/api/v1/labels", `{`),
	} {
		got := ask(t, ours, question)
		want := askServer(t, genuine+question)
		got.Data, want.Data = agreed(question, got.Data), agreed(question, want.Data)
		// The wording of the parser's errors is the release's, and so are capitals.
		got.Error, want.Error = strings.ToLower(got.Error), strings.ToLower(want.Error)
		if got.Code == http.StatusBadRequest && strings.Contains(question, "match") {
			got.Error, want.Error = "", ""
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %.1500s\nwant %.1500s", question, fmt.Sprint(got), fmt.Sprint(want))
		}
	}
}

func askServer(t *testing.T, address string) reply {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r reply
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	r.Code = resp.StatusCode
	return r
}

// agreed rounds numbers to what two releases agree on, and sorts lists of series
// unless the question asks for an order.
func agreed(question string, data any) any {
	data = rounded(data)
	if !strings.Contains(question, "topk") && !strings.Contains(question, "sort") {
		sortSeries(data)
	}
	return data
}

func rounded(data any) any {
	switch v := data.(type) {
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = rounded(v[key])
		}
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return strconv.FormatFloat(f, 'g', 12, 64)
		}
	}
	return data
}

func sortSeries(data any) {
	list, ok := data.([]any)
	if m, isMap := data.(map[string]any); isMap {
		list, ok = m["result"].([]any)
	}
	if !ok {
		return
	}
	slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func TestLimitsOfQueries(t *testing.T) {
	s, _ := fill(t)
	h := New(s, Options{MaxSamples: 10}).HandlerOfAll()
	if got := ask(t, h, ranged(`wacht_disk_free_bytes`, "60")); got.Code != http.StatusUnprocessableEntity || got.ErrorType != "execution" {
		t.Errorf("too many samples: %+v", got)
	}
	h = New(s, Options{Timeout: time.Nanosecond}).HandlerOfAll()
	if got := ask(t, h, instant(`wacht_disk_free_bytes`)); got.Code != http.StatusServiceUnavailable || got.ErrorType != "timeout" {
		t.Errorf("timeout: %+v", got)
	}
	h = New(s, Options{}).HandlerOfAll()
	got := ask(t, h, instant(`wacht_disk_free_bytes`)+"&limit=2")
	if n := len(got.Data.(map[string]any)["result"].([]any)); n != 2 {
		t.Errorf("limit=2 gave %d series", n)
	}
}

func TestClosedHistoryIsUnavailable(t *testing.T) {
	s, _ := fill(t)
	h := New(s, Options{}).HandlerOfAll()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, question := range []string{instant(`wacht_disk_free_bytes`), "/api/v1/labels", match("/api/v1/series", "up")} {
		if got := ask(t, h, question); got.Code != http.StatusServiceUnavailable || got.ErrorType != "unavailable" {
			t.Errorf("%s: %+v", question, got)
		}
	}
}

func TestMetadata(t *testing.T) {
	spec, err := checks.Declaration("disk")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]*checks.Spec{
		"acme": {Name: "disk", Metrics: []checks.MetricSpec{{Name: "free_ratio", Type: "counter"}, {Name: "own", Type: "counter"}}},
		"":     {Name: "theirs", Metrics: []checks.MetricSpec{{Name: "secret", Type: "gauge"}}},
	}
	api := New(nil, Options{Specs: func(customer string) []*checks.Spec { return []*checks.Spec{spec, own[customer]} }})
	h := api.Handler("acme")
	want := map[string]any{"wacht_disk_free_ratio": []any{map[string]any{
		"type": "gauge", "help": "free_bytes as a part of size_bytes", "unit": "ratio",
	}}}
	if got := ask(t, h, "/api/v1/metadata?metric=wacht_disk_free_ratio"); !reflect.DeepEqual(got.Data, want) {
		t.Errorf("got %v", got.Data)
	}
	if got := ask(t, h, "/api/v1/metadata?limit=2"); len(got.Data.(map[string]any)) != 2 {
		t.Errorf("limit=2: %v", got.Data)
	}
	// What an agent declares is there for its customer, and replaces nothing.
	for handler, wanted := range map[string][]bool{"acme": {true, false}, "": {false, true}, "nobody": {false, false}} {
		h := api.HandlerOfAll()
		if handler == "nobody" {
			h = api.Handler("")
		} else if handler != "" {
			h = api.Handler(handler)
		}
		all := ask(t, h, "/api/v1/metadata").Data.(map[string]any)
		for i, name := range []string{"wacht_disk_own", "wacht_theirs_secret"} {
			if _, there := all[name]; there != wanted[i] {
				t.Errorf("as %q, %s is there: %v", handler, name, there)
			}
		}
	}
}

// TestPrometheusVersion holds the version that clients are told to the library's, whose
// v0.310.0 is the release 3.10.0.
func TestPrometheusVersion(t *testing.T) {
	data, err := os.ReadFile("../../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "\tgithub.com/prometheus/prometheus v0.3")
	var minor, patch int
	if _, err := fmt.Sscanf(after, "%2d.%d", &minor, &patch); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("3.%d.%d", minor, patch); want != PrometheusVersion {
		t.Errorf("PrometheusVersion is %s, the library's is %s", PrometheusVersion, want)
	}
}
