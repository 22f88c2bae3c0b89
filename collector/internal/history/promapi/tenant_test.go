package promapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestNobodySeesAnotherCustomer asks in every way that could show globex something of
// acme, and the other way round, and nobody anything.
func TestNobodySeesAnotherCustomer(t *testing.T) {
	s, _ := fill(t)
	api := New(s, Options{})
	questions := []string{
		"/api/v1/labels", "/api/v1/label/host/values", "/api/v1/label/customer/values", "/api/v1/label/direction/values",
	}
	for _, q := range tricks() {
		questions = append(questions, instant(q), ranged(q, "5m"), match("/api/v1/series", q), match("/api/v1/labels", q),
			match("/api/v1/label/host/values", q), match("/api/v1/label/customer/values", `{customer="globex"}`, q),
			instant(q)+"&customer=acme&lookback_delta=1d&stats=all")
	}
	for _, as := range []string{"acme", "globex", ""} {
		saw := 0
		for _, question := range questions {
			body := strings.ToLower(tell(t, api.Handler(as), question))
			if strings.Contains(body, as) && as != "" {
				saw++
			}
			for _, other := range []string{"acme", "globex"} {
				if other != as && strings.Contains(body, other) {
					t.Errorf("%q sees of %q, asking %s:\n%.500s", as, other, question, body)
				}
			}
		}
		if as != "" && saw < 20 {
			t.Errorf("%q saw something of its own in %d answers only", as, saw)
		}
	}
}

// tricks are queries that try to reach beyond one customer.
func tricks() []string {
	return []string{
		`{__name__=~".+"}`, `{customer=~".+"}`, `{customer="acme"}`, `{customer!="globex"}`, `{customer=~"acme|globex"}`, `{customer!=""}`,
		`{__name__=~".+", customer="acme"}`, `{"wacht_disk_free_bytes"}`, `wacht_disk_free_bytes{customer="acme"} or wacht_disk_free_bytes{customer="globex"}`,
		`wacht_disk_free_bytes or {customer="acme"}`, `wacht_disk_free_bytes[1h:1m]`, `max_over_time({customer="acme"}[1h:1m])`,
		`label_replace({customer=~".+", __name__="wacht_disk_free_bytes"}, "customer", "mine", "", "")`,
		`label_join({customer=~".+", __name__="wacht_disk_free_bytes"}, "all", ",", "customer", "host")`,
		`count by (customer, host) ({__name__!=""})`, `group by (customer) ({__name__=~"wacht.*"})`, `topk(100, wacht_disk_free_bytes)`,
		`count_values without () ("v", wacht_disk_free_bytes)`, `-{customer="acme"}`, `({customer="acme"} @ end()) unless nothing`,
		`wacht_disk_free_bytes{customer="acme",customer="globex"}`, `sort_desc({customer="acme"} offset 1m)`,
		`wacht_disk_free_bytes * on() group_right() vector(1)`, `last_over_time({customer="acme"}[1h] offset -5m)`,
	}
}

// FuzzNobodySeesAnotherCustomer holds that what a customer is told is the same whether
// other customers' series are there or not.
func FuzzNobodySeesAnotherCustomer(f *testing.F) {
	for _, q := range tricks() {
		f.Add(q)
	}
	both, _ := fillFor(f, "acme", "globex")
	alone, _ := fillFor(f, "acme")
	// Small limits, so that a query that asks for much ends soon.
	o := Options{MaxSamples: 20_000, Timeout: time.Second}
	besides, without := New(both, o).Handler("acme"), New(alone, o).Handler("acme")
	f.Fuzz(func(t *testing.T, q string) {
		for _, question := range []string{instant(q), match("/api/v1/series", q), match("/api/v1/labels", q), match("/api/v1/label/host/values", q)} {
			got, want := ask(t, besides, question), ask(t, without, question)
			if got.ErrorType == "timeout" || want.ErrorType == "timeout" {
				continue
			}
			got.Data, want.Data = agreed(question, got.Data), agreed(question, want.Data)
			if got.ErrorType != want.ErrorType || !reflect.DeepEqual(got.Data, want.Data) {
				t.Errorf("%s\nbesides others %+v\n         alone %+v", question, got, want)
			}
		}
	})
}

// tell returns the data of an answer; an error shows the query again, nothing else.
func tell(t *testing.T, h http.Handler, question string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, question, nil))
	var all map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return string(all["data"])
}

// TestCountsAreOfOneCustomer looks at answers that hold no label.
func TestCountsAreOfOneCustomer(t *testing.T) {
	s, _ := fill(t)
	api := New(s, Options{})
	for as, want := range map[string]string{"acme": `"9"`, "globex": `"9"`, "nobody": `[]`, "": `[]`, "acme|globex": `[]`, ".+": `[]`} {
		for _, q := range []string{`count({__name__=~".+"})`, `count({customer=~".+"})`} {
			if got := tell(t, api.Handler(as), instant(q)); !strings.Contains(got, want) {
				t.Errorf("%s as %q: %s, want %s", q, as, got, want)
			}
		}
	}
	if got := tell(t, api.HandlerOfAll(), instant(`count({__name__=~".+"})`)); !strings.Contains(got, `"18"`) {
		t.Errorf("all: %s", got)
	}
}

func TestPostedQueryAndUnknownPath(t *testing.T) {
	s, _ := fill(t)
	h := New(s, Options{}).Handler("acme")
	for path, want := range map[string]int{"/api/v1/query": 200, "/api/v1/admin/tsdb/delete_series": 404} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(url.Values{"query": {`count({customer=~".+"})`}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
