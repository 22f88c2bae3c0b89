package collector

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/expose"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/history/promapi"
	"github.com/wacht-io/wacht/collector/internal/web"
)

// routes is everything that the web address serves: pages, API, PromQL and metrics,
// each behind the same sign-in.
func (c *core) routes(addr string) (http.Handler, error) {
	apiHandler, err := c.apiHandler()
	if err != nil {
		return nil, err
	}
	pages, err := web.New(web.Options{
		Backend: c.backend, History: graphs{c.history}, Auth: c.auth, Level: c.level, AgentsPort: c.agentsPort(), Logger: c.log,
	})
	if err != nil {
		return nil, err
	}
	queries := c.queries()
	hosts := expose.New(expose.Options{Source: source{c.engine}, Address: addr, Logger: c.log})
	exposed := c.auth.RequireUnlessLocal(scoped(hosts.Handler, hosts.HandlerOfAll))

	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/api/", apiHandler)
	for _, path := range []string{"query", "query_range", "series", "labels", "label/", "metadata", "status/buildinfo"} {
		mux.Handle("/api/v1/"+path, c.auth.Middleware(c.auth.Require(queries)))
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.Handle(path, apiHandler)
	}
	mux.Handle("/metrics", c.auth.Middleware(c.auth.RequireUnlessLocal(expose.Own(c.registry, c.log))))
	mux.Handle("/sd", c.auth.Middleware(exposed))
	mux.Handle("/metrics/hosts/", c.auth.Middleware(exposed))
	return mux, nil
}

func (c *core) agentsPort() string {
	_, port, _ := net.SplitHostPort(c.config.Agents) // verified when it was read
	return port
}

func (c *core) apiHandler() (http.Handler, error) {
	return api.New(api.Options{Backend: c.backend, Auth: c.auth, Logger: c.log})
}

// API answers as an administrator who gives orders through the local socket.
func (c *core) API() (http.Handler, error) {
	h, err := c.apiHandler()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(auth.With(r.Context(), principal)))
	}), nil
}

func (c *core) queries() http.Handler {
	q := promapi.New(c.history, promapi.Options{
		Specs: c.declared, Registerer: c.registry, Logger: c.log,
	})
	return scoped(q.Handler, q.HandlerOfAll)
}

// scoped gives a request the handler of the one customer that its sender may see, or
// of all. Who may see all without a customer was let in as local or as the MSP's own.
func scoped(one func(customer string) http.Handler, all func() http.Handler) http.Handler {
	everything := all()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, known := auth.From(r.Context()); known && p.Customer != "" {
			one(p.Customer).ServeHTTP(w, r)
			return
		}
		everything.ServeHTTP(w, r)
	})
}

// declared lists the built-in declarations first, which nobody else's can replace, and
// then those that agents of a customer, or of all, brought.
func (c *core) declared(customer string) []*checks.Spec {
	return slices.Concat(c.specs, c.engine.Declared(customer))
}

// source shows the engine to Prometheus' scrapes.
type source struct{ engine *engine.Engine }

func (s source) Hosts(_ context.Context, customer string) ([]expose.Host, error) {
	var out []expose.Host
	for _, h := range s.engine.Hosts(customer) {
		if h.RevokedAt.IsZero() && !h.Pending {
			out = append(out, exposedHost(&h))
		}
	}
	return out, nil
}

func exposedHost(h *engine.HostView) expose.Host {
	return expose.Host{
		ID: h.ID, Name: h.Name, Customer: h.Customer, Site: h.Site, Role: string(h.Role), OS: h.OS,
		Labels: h.Labels, Connected: h.Connected, Silent: h.Silent, OpenIncidents: h.OpenIncidents, LastSeen: h.LastSeen,
	}
}

func (s source) Latest(_ context.Context, customer, id string) (expose.Host, []expose.State, error) {
	h, err := s.engine.Host(customer, id)
	if isNotFound(err) {
		return expose.Host{}, nil, expose.ErrUnknownHost
	}
	if err != nil {
		return expose.Host{}, nil, err
	}
	states := make([]expose.State, len(h.Checks))
	for i := range h.Checks {
		states[i] = exposedState(&h.Checks[i])
	}
	return exposedHost(&h.HostView), states, nil
}

func exposedState(v *engine.StateView) expose.State {
	out := expose.State{
		Check: v.Check, Instance: v.Instance, Item: v.Item, Status: v.Status, Level: v.Level, LastSeen: v.LastSeen,
	}
	for _, m := range v.Metrics {
		out.Metrics = append(out.Metrics, expose.Metric{Metric: m.Metric(), Help: m.Help, Unit: m.Unit})
	}
	return out
}

// graphs shows history to the pages' small graphs.
type graphs struct{ history *history.Store }

func (g graphs) Points(ctx context.Context, customer, metric, host, check, item string, from, to time.Time, limit int) ([]web.Point, error) {
	lines, err := g.history.Points(ctx, history.Selection{
		Customer: customer, Metric: metric, Host: host, Check: check, Item: item,
	}, from, to, limit)
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	out := make([]web.Point, len(lines[0].Points))
	for i, p := range lines[0].Points {
		out[i] = web.Point{Time: p.Time, Value: p.Mean}
	}
	return out, nil
}
