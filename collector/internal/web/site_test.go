package web_test

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/net/html"

	"github.com/wacht-io/wacht/collector/internal/api/apitest"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/history/promapi"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
	"github.com/wacht-io/wacht/collector/internal/web"
)

const password = "correct horse battery"

// world is the pages over the demo's data, with PromQL beside them if there is history.
type world struct {
	t       *testing.T
	backend *apitest.Backend
	auth    *auth.Auth
	handler http.Handler
	cookies map[string]*http.Cookie
}

// users are who can sign in: an admin, an engineer, and one who sees the bakery alone.
var users = []auth.NewUser{
	{Name: "anna", Role: auth.Admin}, {Name: "bert", Role: auth.Engineer},
	{Name: "femke", Role: auth.Engineer, Customer: apitest.Bakery},
}

func newWorld(t *testing.T, backend *apitest.Backend, past *history.Store) *world {
	t.Helper()
	s := memstore.New()
	a, err := auth.New(s, auth.Unclaimed{Store: s}, auth.Options{Hashing: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		u.Password = password
		if _, err := a.AddUser(t.Context(), auth.Principal{Name: "root", Via: auth.ViaCommand}, u); err != nil {
			t.Fatal(err)
		}
	}
	o := web.Options{Backend: backend, Auth: a}
	mux := http.NewServeMux()
	if past != nil {
		o.History = points{past}
		mux.Handle("/api/v1/", a.Middleware(a.Require(promapi.New(past, promapi.Options{}).HandlerOfAll())))
	}
	pages, err := web.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", pages)
	return &world{t: t, backend: backend, auth: a, handler: mux, cookies: map[string]*http.Cookie{}}
}

func demo(t *testing.T) *world {
	t.Helper()
	b, err := apitest.Demo(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, b, nil)
}

// points shows the small graphs what history holds.
type points struct{ store *history.Store }

func (p points) Points(ctx context.Context, customer, metric, host, check, item string, from, to time.Time, limit int) ([]web.Point, error) {
	lines, err := p.store.Points(ctx, history.Selection{Customer: customer, Metric: metric, Host: host, Check: check, Item: item}, from, to, limit)
	var out []web.Point
	if len(lines) > 0 {
		for _, q := range lines[0].Points {
			out = append(out, web.Point{Time: q.Time, Value: q.Mean})
		}
	}
	return out, err
}

// remember fills history with a day of the demo's hosts.
func remember(t *testing.T, b *apitest.Backend, now time.Time) *history.Store {
	t.Helper()
	past, err := history.Open(t.TempDir(), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := past.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := b.Host(t.Context(), scopeOfAll, "h-files")
	if err != nil {
		t.Fatal(err)
	}
	batch := past.Begin()
	for _, c := range h.Checks {
		of := history.Subject{Customer: h.Customer, Site: h.Site, Host: h.Name, Check: c.Check, Item: c.Item}
		for n, m := range c.Metrics {
			series := past.Series(m.Name, of, m.Metric().Labels...)
			for i := range 1440 {
				at := now.Add(-time.Duration(i) * time.Minute).Truncate(time.Minute)
				x := float64(i) / 90
				v := m.Value * (1 + 0.15*math.Sin(x+float64(n)) + 0.05*math.Sin(7*x+float64(len(c.Item))))
				if m.Type == "counter" {
					v = m.Value - float64(i)*4e6*(1+0.3*math.Sin(x))
				}
				if i > 300 && i < 330 {
					continue // the machine was off
				}
				if err := batch.Append(series, at.UnixMilli(), v); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
	return past
}

// signIn returns the cookie of a user's session, which is the same in all of a test.
func (w *world) signIn(name string) *http.Cookie {
	w.t.Helper()
	if c := w.cookies[name]; c != nil {
		return c
	}
	res := w.send("", http.MethodPost, "/sign-in", url.Values{"name": {name}, "password": {password}})
	if res.StatusCode != http.StatusSeeOther {
		w.t.Fatalf("signing in as %s answers %d", name, res.StatusCode)
	}
	w.cookies[name] = res.Cookies()[0]
	return w.cookies[name]
}

// send sends a request as a user, or as nobody.
func (w *world) send(as, method, path string, form url.Values, headers ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if as != "" {
		r.AddCookie(w.signIn(as))
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Result()
}

// get returns a page as nodes, and fails unless it has the status.
func (w *world) get(status int, as, path string, headers ...string) *node {
	w.t.Helper()
	return w.read(status, w.send(as, http.MethodGet, path, nil, headers...))
}

func (w *world) read(status int, res *http.Response) *node {
	w.t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != status {
		w.t.Fatalf("answer %d, want %d: %s", res.StatusCode, status, body)
	}
	doc, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	return &node{doc}
}

type node struct{ *html.Node }

func (n *node) attr(name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// all finds elements: by name, by #id, or by .class.
func (n *node) all(selector string) []*node {
	var out []*node
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		e := &node{d}
		switch {
		case strings.HasPrefix(selector, "#") && e.attr("id") == selector[1:],
			strings.HasPrefix(selector, ".") && strings.Contains(" "+e.attr("class")+" ", " "+selector[1:]+" "),
			d.Data == selector:
			out = append(out, e)
		}
	}
	return out
}

// text is what a reader sees of an element, with single spaces.
func (n *node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// one is the text of the only element that a selector finds.
func (n *node) one(t *testing.T, selector string) string {
	t.Helper()
	found := n.all(selector)
	if len(found) != 1 {
		t.Fatalf("there are %d %s", len(found), selector)
	}
	return found[0].text()
}
