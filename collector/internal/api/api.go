package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/api/fault"
	"github.com/wacht-io/wacht/collector/internal/auth"
)

// Options of the API.
type Options struct {
	Backend Backend
	// Auth says who makes a request, and logs what admins do.
	Auth   *auth.Auth
	Logger *slog.Logger
}

type api struct {
	backend  Backend
	auth     *auth.Auth
	logger   *slog.Logger
	document []byte
	mux      *http.ServeMux
}

// route is one operation of the API. The OpenAPI document has the same, which a test
// verifies.
type route struct {
	method, path string
	// open is for everybody; admin for admins alone; the rest for who is known.
	open, admin bool
	answer      answerer
}

// answerer does what a request asks for. A body is sent as JSON.
type answerer func(*http.Request) (response, error)

type response struct {
	status   int // 200 when zero
	location string
	body     any
}

const catchAll = "/api/v1/"

// New returns the handler of /api/v1/, /healthz and /readyz. More specific patterns
// below /api/v1/, such as Prometheus' queries, can be mounted beside it.
func New(o Options) (http.Handler, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	document, err := Document()
	if err != nil {
		return nil, err
	}
	a := &api{backend: o.Backend, auth: o.Auth, logger: o.Logger, document: document, mux: http.NewServeMux()}
	for _, rt := range a.routes() {
		a.mux.Handle(rt.method+" "+rt.path, a.guard(rt))
	}
	a.mux.HandleFunc(catchAll, a.unknown)
	return o.Auth.Middleware(a.mux), nil
}

func (a *api) routes() []route {
	all := []route{
		{method: "GET", path: "/healthz", open: true, answer: a.health},
		{method: "GET", path: "/readyz", open: true, answer: a.ready},
		{method: "GET", path: "/api/v1/openapi.json", open: true, answer: a.openapi},
		{method: "GET", path: "/api/v1/incidents", answer: a.incidents},
		{method: "POST", path: "/api/v1/incidents", answer: a.report},
		{method: "GET", path: "/api/v1/incidents/{number}", answer: a.incident},
		{method: "GET", path: "/api/v1/hosts", answer: a.hosts},
		{method: "GET", path: "/api/v1/hosts/{id}", answer: a.host},
		{method: "POST", path: "/api/v1/hosts/{id}/revoke", admin: true, answer: a.revoke},
		{method: "POST", path: "/api/v1/hosts/{id}/approve", admin: true, answer: a.approve},
		{method: "GET", path: "/api/v1/problems", answer: a.problems},
	}
	for _, do := range Actions() {
		all = append(all, route{method: "POST", path: "/api/v1/incidents/{number}/" + do, answer: a.act(do)})
	}
	return all
}

func (a *api) guard(rt route) http.Handler {
	h := a.serve(rt.answer)
	switch {
	case rt.open:
		return h
	case rt.admin:
		return a.auth.RequireAdmin(h)
	}
	return a.auth.Require(h)
}

func (a *api) serve(answer answerer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		res, err := answer(r)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		a.write(w, r, res)
	})
}

func (a *api) write(w http.ResponseWriter, r *http.Request, res response) {
	var body bytes.Buffer
	if raw, ok := res.body.(json.RawMessage); ok {
		body.Write(raw)
	} else if res.body != nil {
		enc := json.NewEncoder(&body)
		if err := enc.Encode(res.body); err != nil {
			a.refuse(w, r, fmt.Errorf("encoding the answer: %w", err))
			return
		}
	}
	h := w.Header()
	if res.body != nil {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if res.location != "" {
		h.Set("Location", res.location)
	}
	if res.status == 0 {
		res.status = http.StatusOK
	}
	w.WriteHeader(res.status)
	if _, err := w.Write(body.Bytes()); err != nil {
		a.logger.Debug("An answer did not reach its reader", "path", r.URL.Path, "error", err)
	}
}

// unknown answers for paths and methods that there are not.
func (a *api) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.mux.Handler(probe); pattern != catchAll {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || slices.Contains(allowed, r.Method) {
		fault.Write(w, http.StatusNotFound, "there is no such address: GET /api/v1/openapi.json lists those that there are")
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	fault.Write(w, http.StatusMethodNotAllowed, "use "+strings.Join(allowed, " or ")+" here")
}

func (*api) health(*http.Request) (response, error) {
	return response{body: map[string]string{"status": "ok"}}, nil
}

// ready says why not only in the log: everybody may ask.
func (a *api) ready(r *http.Request) (response, error) {
	if err := a.backend.Ready(r.Context()); err != nil {
		a.logger.Warn("The collector is not ready", "error", err)
		return response{}, &failure{status: http.StatusServiceUnavailable, detail: "the collector can't do its work now: its log says why"}
	}
	return response{body: map[string]string{"status": "ok"}}, nil
}

// who is the person or program that asks, and what they may see.
func who(r *http.Request) (auth.Principal, Scope) {
	p, _ := auth.From(r.Context())
	return p, Scope{Customer: p.Customer}
}
