package http

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

type held map[string]string

func (h held) Secret(name string) (checks.Secret, error) {
	if text, ok := h[name]; ok {
		return checks.NewSecret(text), nil
	}
	return checks.Secret{}, errors.New("there is none")
}

func tryRun(t *testing.T, given checks.Params) (checks.Result, error) {
	t.Helper()
	c := New()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(t.Context(), &checks.Env{Params: params, Secrets: held{"shop": "s3cret", "login": "ann:s3cret"}})
	if err != nil {
		return checks.Result{}, err
	}
	if err := c.Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	return got.Results[0], nil
}

func run(t *testing.T, given checks.Params) checks.Result {
	t.Helper()
	r, err := tryRun(t, given)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func site(t *testing.T) *httptest.Server {
	t.Helper()
	mux := nethttp.NewServeMux()
	mux.HandleFunc("/ok", func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprint(w, "Welcome to the shop") })
	mux.HandleFunc("/broken", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		nethttp.Error(w, "out of order", nethttp.StatusInternalServerError)
	})
	mux.HandleFunc("/hop/{n}", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		next := map[string]string{"3": "/hop/2", "2": "/hop/1", "1": "/ok"}[r.PathValue("n")]
		nethttp.Redirect(w, r, next, nethttp.StatusFound)
	})
	mux.HandleFunc("/health", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		fmt.Fprint(w, `{"state":"up","parts":[{"name":"db","ready":true},{"name":"mail","ready":false}],"n":3}`)
	})
	mux.HandleFunc("/endless", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		for range 64 {
			fmt.Fprint(w, strings.Repeat("x", maxBody/16))
		}
	})
	mux.HandleFunc("/cut", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "half")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestRun(t *testing.T) {
	s := site(t)
	for name, tt := range map[string]struct {
		path    string
		params  checks.Params
		status  checks.Status
		summary string
		code    float64
	}{
		"works":                {"/ok", nil, checks.OK, "status 200, 19 B in", 200},
		"head":                 {"/ok", checks.Params{"method": {"HEAD"}}, checks.OK, "status 200, 0 B", 200},
		"body matches":         {"/ok", checks.Params{"body": {"(?i)WELCOME"}}, checks.OK, "", 200},
		"body differs":         {"/ok", checks.Params{"body": {"Goodbye"}}, checks.Critical, `body failed: "Goodbye" does not occur`, 200},
		"wrong status":         {"/broken", nil, checks.Critical, "status failed: the answer is 500, expected [200]", 500},
		"missing as expected":  {"/none", checks.Params{"status": {"404", "410"}}, checks.OK, "status 404", 404},
		"redirected":           {"/hop/3", nil, checks.OK, "status 200", 200},
		"too many redirects":   {"/hop/3", checks.Params{"redirects": {"2"}}, checks.Critical, "status failed: the answer is 302", 302},
		"redirect is expected": {"/hop/3", checks.Params{"redirects": {"0"}, "status": {"302"}}, checks.OK, "status 302", 302},
		"json value":           {"/health", checks.Params{"json_path": {"parts[0].name"}, "json_value": {"db"}}, checks.OK, "", 200},
		"json number":          {"/health", checks.Params{"json_path": {"n"}, "json_value": {"3"}}, checks.OK, "", 200},
		"json truth":           {"/health", checks.Params{"json_path": {"parts[1].ready"}}, checks.Critical, "body failed: parts.1.ready is false", 200},
		"json other value":     {"/health", checks.Params{"json_path": {"state"}, "json_value": {"down"}}, checks.Critical, `state is "up", expected "down"`, 200},
		"json missing":         {"/health", checks.Params{"json_path": {"parts[7].ready"}}, checks.Critical, `there is no element "7" in a list of 2`, 200},
		"not json":             {"/ok", checks.Params{"json_path": {"state"}}, checks.Critical, "neither an object nor a list", 200},
		"too long":             {"/endless", nil, checks.OK, "1 MiB", 200},
		"cut off":              {"/cut", nil, checks.Critical, "body failed: reading it, after 4 bytes", 200},
	} {
		t.Run(name, func(t *testing.T) {
			params := checks.Params{"url": {s.URL + tt.path}}
			maps.Copy(params, tt.params)
			r := run(t, params)
			if r.Status != tt.status || !strings.Contains(r.Summary, tt.summary) {
				t.Errorf("got %v %q, want %v with %q", r.Status, r.Summary, tt.status, tt.summary)
			}
			if got := values(r)["status_code"]; got != tt.code {
				t.Errorf("got status_code %v, want %v", got, tt.code)
			}
		})
	}
}

func TestMetricsOfRedirects(t *testing.T) {
	got := values(run(t, checks.Params{"url": {site(t).URL + "/hop/3"}}))
	if got["redirects"] != 3 || got["body_bytes"] != 19 {
		t.Errorf("got %v", got)
	}
	for _, name := range []string{"connect_seconds", "first_byte_seconds", "body_seconds", "duration_seconds"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"dns_seconds", "tls_seconds", "certificate_remaining_seconds"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is there, but there was no such step", name)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(nethttp.NotFoundHandler())
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	trusted := run(t, checks.Params{"url": {s.URL}, "ca_file": {file}, "status": {"404"}})
	if trusted.Status != checks.OK || values(trusted)["certificate_remaining_seconds"] <= 0 {
		t.Errorf("got %v %q %v", trusted.Status, trusted.Summary, trusted.Metrics)
	}
	strange := run(t, checks.Params{"url": {s.URL}, "status": {"404"}})
	if strange.Status != checks.Critical || !strings.HasPrefix(strange.Summary, "tls failed: ") {
		t.Errorf("got %v %q", strange.Status, strange.Summary)
	}
}

func TestCredential(t *testing.T) {
	seen := make(chan string, 8)
	other := httptest.NewServer(nethttp.HandlerFunc(func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		seen <- r.Header.Get("Authorization")
	}))
	defer other.Close()
	own := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		seen <- r.Header.Get("Authorization")
		if r.URL.Path == "/away" {
			nethttp.Redirect(w, r, other.URL, nethttp.StatusFound)
			return
		}
		w.WriteHeader(nethttp.StatusTeapot)
		fmt.Fprintf(w, "you sent %s", r.Header.Get("Authorization"))
	}))
	defer own.Close()

	given := checks.Params{"url": {own.URL + "/away"}, "secret": {"shop"}, "secret_origin": {own.URL}}
	run(t, given)
	if first, second := <-seen, <-seen; first != "Bearer s3cret" || second != "" {
		t.Errorf("own origin saw %q, the other %q", first, second)
	}
	basic := checks.Params{"url": {own.URL}, "secret": {"login"}, "secret_type": {"basic"}, "secret_origin": {own.URL}}
	r := run(t, basic)
	encoded := base64.StdEncoding.EncodeToString([]byte("ann:s3cret"))
	if got := <-seen; got != "Basic "+encoded {
		t.Errorf("got %q", got)
	}
	if strings.Contains(r.Evidence, encoded) || !strings.Contains(r.Evidence, "you sent Basic ***") {
		t.Errorf("the evidence is %q", r.Evidence)
	}
}

func TestRefusedAddresses(t *testing.T) {
	addr := func(texts ...string) (out []netip.Addr) {
		for _, text := range texts {
			out = append(out, netip.MustParseAddr(text))
		}
		return out
	}
	for name, tt := range map[string]struct {
		first, then []netip.Addr
		linkLocal   bool
		wrong       string
	}{
		"public":                    {addr("192.0.2.1"), nil, false, ""},
		"private":                   {addr("10.0.0.1"), addr("192.168.1.1"), false, ""},
		"loopback":                  {addr("127.0.0.1"), addr("10.0.0.1"), false, ""},
		"cloud metadata":            {addr("169.254.169.254"), nil, false, "link_local"},
		"mapped cloud metadata":     {addr("::ffff:169.254.169.254"), nil, false, "link_local"},
		"link-local when allowed":   {addr("169.254.1.1"), nil, true, ""},
		"public to public":          {addr("192.0.2.1"), addr("2001:db8::1"), false, ""},
		"public to private":         {addr("192.0.2.1"), addr("10.0.0.1"), false, "into a private network"},
		"public to loopback":        {addr("192.0.2.1"), addr("::1"), false, "into a private network"},
		"public to mapped loopback": {addr("192.0.2.1"), addr("::ffff:127.0.0.1"), false, "into a private network"},
		"public to shared":          {addr("192.0.2.1"), addr("100.64.0.1"), false, "into a private network"},
		"public to unique local":    {addr("192.0.2.1"), addr("fd00:ec2::254"), false, "into a private network"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFetch(&config{linkLocal: tt.linkLocal})
			_, err := f.allowed(tt.first)
			if err == nil && tt.then != nil {
				_, err = f.allowed(tt.then)
			}
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("got %v, want %q", err, tt.wrong)
			}
		})
	}
}

func TestConformance(t *testing.T) {
	s := site(t)
	url := []string{s.URL + "/ok"}
	checktest.Run(t, New(), checktest.Options{
		Params: checks.Params{"url": url, "body": {"shop"}},
		Refused: []checktest.Refusal{
			{Params: checks.Params{"url": {"https://ann:s3cret@example.com/"}}, Name: "url"},
			{Params: checks.Params{"url": {"https://%zz/"}}, Name: "url"},
			{Params: checks.Params{"url": url, "body": {"("}}, Name: "body"},
			{Params: checks.Params{"url": url, "json_value": {"x"}}, Name: "json_value"},
			{Params: checks.Params{"url": url, "method": {"HEAD"}, "body": {"x"}}, Name: "method"},
			{Params: checks.Params{"url": url, "ca_file": {"/nonexistent/ca.pem"}}, Name: "ca_file"},
			{Params: checks.Params{"url": url, "secret": {"shop"}}, Name: "secret_origin"},
			{Params: checks.Params{"url": url, "secret": {"shop"}, "secret_origin": {"https://shop.example.com"}}, Name: "secret_origin"},
			{Params: checks.Params{"url": url, "secret": {"none"}, "secret_origin": {s.URL}}, Name: "secret"},
		},
		Hanging: hang,
	})
}

func hang(t *testing.T) (checks.Params, <-chan struct{}) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan struct{}, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		taken <- struct{}{}
	}()
	t.Cleanup(func() { l.Close() })
	return checks.Params{"url": {"http://" + l.Addr().String()}}, taken
}

func FuzzLookup(f *testing.F) {
	for _, body := range []string{`{"a":[{"b":null}]}`, `[]`, `"x"`, `{"a":`, ``, `null`} {
		f.Add([]byte(body), "a", "0", "b")
	}
	f.Fuzz(func(t *testing.T, body []byte, a, b, c string) {
		_, _ = lookup(body, []string{a, b, c})
	})
}
