// Package web is the collector's pages: rendered on the server, whole without scripts,
// kept up to date by htmx and drawn on by uPlot where those are there.
package web

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/sla"
)

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// History gives the small graphs in tables, which are there without scripts too.
type History interface {
	// Points returns at most limit points of one metric of a check state, oldest first.
	// Metric is its name in Prometheus; host the host's name; check the label check,
	// with its instance behind a slash; item may be empty.
	Points(ctx context.Context, customer, metric, host, check, item string, from, to time.Time, limit int) ([]Point, error)
}

// Options of the pages.
type Options struct {
	Backend api.Backend
	// History may be nil: tables then have no small graphs.
	History History
	Auth    *auth.Auth
	// Level gives the impacts and urgencies that a report can have; the default level
	// when nil.
	Level *sla.Level
	// Location is where exact times are told; the level's time zone when nil.
	Location *time.Location
	// AgentsPort is the port that agents connect to, for the page that tells how to add
	// a host; 7421 when empty.
	AgentsPort string
	Logger     *slog.Logger
}

type site struct {
	Options
	languages []*language
	assets    *assets
}

// New returns the handler of all pages. Mount it at /.
func New(o Options) (http.Handler, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Level == nil {
		o.Level = sla.Default()
	}
	if o.AgentsPort == "" {
		o.AgentsPort = "7421"
	}
	if o.Location == nil {
		zone, err := time.LoadLocation(o.Level.Zone())
		if err != nil {
			return nil, fmt.Errorf("the service level's time zone: %w", err)
		}
		o.Location = zone
	}
	s := &site{Options: o}
	var err error
	if s.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if s.languages, err = readLanguages(o.Location, s.assets); err != nil {
		return nil, err
	}
	return secure(o.Auth.Middleware(s.mux())), nil
}

// visit is one request of a page.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	lang *language
	who  auth.Principal
	in   api.Scope
	now  time.Time
}

type pageFunc func(*visit) error

func (s *site) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /static/", s.assets)
	for pattern, f := range map[string]pageFunc{
		"GET /sign-in":   s.signInPage,
		"POST /sign-in":  s.signIn,
		"POST /sign-out": s.signOut,
		"POST /language": s.setLanguage,
	} {
		mux.Handle(pattern, s.open(f))
	}
	for pattern, f := range map[string]pageFunc{
		"GET /{$}":                          s.home,
		"GET /incidents":                    s.queue,
		"GET /incidents/new":                s.reportPage,
		"POST /incidents":                   s.report,
		"GET /incidents/{number}":           s.incident,
		"POST /incidents/{number}/{action}": s.act,
		"GET /problems":                     s.problems,
		"GET /hosts":                        s.hosts,
		"GET /hosts/{id}":                   s.host,
		"POST /hosts/{id}/revoke":           s.revoke,
		"POST /hosts/{id}/approve":          s.approve,
		"POST /hosts/approve":               s.approveSeen,
		"GET /help/add-host":                s.addHost,
		"GET /account":                      s.account,
		"POST /account/sessions/{id}/end":   s.endSession,
		"POST /account/sessions/end-all":    s.endSessions,
		"GET /audit":                        s.audit,
		"/":                                 s.nothing,
	} {
		mux.Handle(pattern, s.known(f))
	}
	return mux
}

func (s *site) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{w: w, r: r, lang: s.languageOf(r), now: time.Now()}
	v.who, _ = auth.From(r.Context())
	v.in = api.Scope{Customer: v.who.Customer}
	return v
}

// maxForm is room for the longest description, escaped for a form.
const maxForm = 256 << 10

// open serves a page to everybody.
func (s *site) open(f pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		v := s.visit(w, r)
		if err := f(v); err != nil {
			s.fail(v, err)
		}
	})
}

// known serves a page to who is signed in, and sends others to sign in.
func (s *site) known(f pageFunc) http.Handler {
	return s.open(func(v *visit) error {
		if v.who.Name != "" {
			return f(v)
		}
		to := "/sign-in"
		if next := v.wanted(); next != "/" {
			to += "?next=" + url.QueryEscape(next)
		}
		if v.r.Header.Get("Hx-Request") != "" {
			// A page that refreshes itself goes to sign in as a whole.
			v.w.Header().Set("Hx-Redirect", to)
			v.w.WriteHeader(http.StatusUnauthorized)
			return nil
		}
		return v.redirect(to)
	})
}

// wanted is the page to go to after signing in: what was asked for, or for a form the
// page that it belongs to.
func (v *visit) wanted() string {
	if v.r.Method == http.MethodGet {
		return v.r.URL.RequestURI()
	}
	parts := strings.Split(v.r.URL.Path, "/")
	return strings.Join(parts[:min(len(parts), 3)], "/")
}

// redirect answers a form: the page that comes next is one that can be reloaded.
func (v *visit) redirect(to string) error {
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// page is what every template is given.
type page struct {
	Lang string
	// Nav names the part of the site that the page is in.
	Nav, Title string
	Who        auth.Principal
	// Here is the page's own address.
	Here    string
	Now     time.Time
	Scripts bool
	Others  []*language
	Data    any
}

// render writes a page whole or not at all.
func (s *site) render(v *visit, status int, name, nav, title string, data any) error {
	p := page{
		Lang: v.lang.Code, Nav: nav, Title: title, Who: v.who, Here: v.r.URL.RequestURI(), Now: v.now,
		Scripts: s.assets.scripts, Data: data,
	}
	if v.r.Method != http.MethodGet {
		p.Here = v.wanted()
	}
	for _, l := range s.languages {
		if l != v.lang {
			p.Others = append(p.Others, l)
		}
	}
	t, err := v.lang.template(name)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return fmt.Errorf("rendering page %s: %w", name, err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.lang.Code)
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	v.w.WriteHeader(status)
	if _, err := v.w.Write(out.Bytes()); err != nil {
		s.Logger.Debug("A page did not reach its reader", "page", name, "error", err)
	}
	return nil
}

// fail shows what went wrong and what to do. Of our own failures the log tells more.
func (s *site) fail(v *visit, err error) {
	status := api.Status(err)
	detail := ""
	switch status {
	case http.StatusInternalServerError:
		s.Logger.Error("A page failed", "path", v.r.URL.Path, "error", err)
	case http.StatusConflict, http.StatusUnprocessableEntity:
		detail = err.Error()
	}
	s.failPage(v, status, detail)
}

func (s *site) failPage(v *visit, status int, detail string) {
	kind := strconv.Itoa(status)
	if !v.lang.has("error." + kind + ".title") {
		kind = "500"
	}
	data := struct{ Status, Do, Detail string }{strconv.Itoa(status), v.lang.text("error." + kind + ".do"), detail}
	if err := s.render(v, status, "error", "", v.lang.text("error."+kind+".title"), data); err != nil {
		s.Logger.Error("The page for errors failed", "error", err)
		http.Error(v.w, "The collector failed; its log says why.", http.StatusInternalServerError)
	}
}

func (s *site) nothing(v *visit) error {
	status := http.StatusNotFound
	if v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		status = http.StatusMethodNotAllowed
	}
	s.failPage(v, status, "")
	return nil
}

func (s *site) home(v *visit) error { return v.redirect("/incidents") }

// Nothing comes from elsewhere, nothing is inline, nobody frames us.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// templates parses the pages for one language, whose functions they use.
func templates(funcs template.FuncMap) (map[string]*template.Template, error) {
	layout, err := template.New("layout.html").Funcs(funcs).Option("missingkey=error").
		ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	entries, err := files.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("listing the templates: %w", err)
	}
	out := make(map[string]*template.Template, len(entries))
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := layout.Clone()
		if err == nil {
			_, err = t.ParseFS(files, "templates/"+e.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("reading template %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}
