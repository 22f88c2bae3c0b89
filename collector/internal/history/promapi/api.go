// Package promapi answers Prometheus' HTTP query API
// (https://prometheus.io/docs/prometheus/latest/querying/api/) from history, so that
// Grafana and every other client of Prometheus can read it, and keeps the answers
// within one customer.
//
// Prometheus' own web/api/v1 is no library to take: it brings the scraper, the rule
// manager, remote write, OpenTelemetry and an OpenAPI library. What is used is its
// query engine; the handlers here do what those of Prometheus 3 do.
package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/httputil"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/history"
)

// What New uses where Options says nothing else. Prometheus allows 50 million
// samples and 20 queries; here a customer may ask, and the same process watches.
const (
	DefaultTimeout     = 2 * time.Minute
	DefaultMaxSamples  = 10_000_000
	DefaultConcurrency = 8
)

const (
	lookback         = 5 * time.Minute // Prometheus' default
	subqueryInterval = time.Minute     // the same
	maxPoints        = 11_000          // a series, as in Prometheus
	maxBody          = 1 << 20
)

// Options of an API; a zero value means the default.
type Options struct {
	// Timeout is how long a query may take, MaxSamples how many samples it may hold in
	// memory (16 bytes each), Concurrency how many may run; others wait.
	Timeout     time.Duration
	MaxSamples  int
	Concurrency int
	// Specs gives the declarations of the checks that a customer has, "" standing for
	// all of them, for the metrics' metadata. Of several that describe one metric the
	// first counts.
	Specs func(customer string) []*checks.Spec
	// Registerer gets the query engine's metrics; nil means none.
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// API answers queries.
type API struct {
	store   storage.Queryable
	engine  *promql.Engine
	running chan struct{}
	specs   func(customer string) []*checks.Spec
	logger  *slog.Logger
}

// New returns the API over a store.
func New(store storage.Queryable, o Options) *API {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = DefaultMaxSamples
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Specs == nil {
		o.Specs = func(string) []*checks.Spec { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		Logger:                   o.Logger,
		Reg:                      registerer(o.Registerer),
		MaxSamples:               o.MaxSamples,
		Timeout:                  o.Timeout,
		LookbackDelta:            lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryInterval.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
	})
	return &API{store: store, engine: engine, running: make(chan struct{}, o.Concurrency), specs: o.Specs, logger: o.Logger}
}

// Handler answers with one customer's series and no others, whatever the query says.
// Without a customer it answers with none.
func (a *API) Handler(customer string) http.Handler {
	if customer == "" {
		return a.handler(Within(a.store, ""), func() []*checks.Spec { return nil })
	}
	return a.handler(Within(a.store, customer), func() []*checks.Spec { return a.specs(customer) })
}

// HandlerOfAll answers with every customer's series; it is for the MSP's own people.
func (a *API) HandlerOfAll() http.Handler {
	return a.handler(a.store, func() []*checks.Spec { return a.specs("") })
}

func (a *API) handler(from storage.Queryable, specs func() []*checks.Spec) http.Handler {
	h := &handler{api: a, store: from, specs: specs}
	mux := http.NewServeMux()
	for path, answer := range map[string]answerFunc{
		"/api/v1/query":               h.query,
		"/api/v1/query_range":         h.queryRange,
		"/api/v1/series":              h.series,
		"/api/v1/labels":              h.labelNames,
		"/api/v1/label/{name}/values": h.labelValues,
		"/api/v1/metadata":            h.metadata,
		"/api/v1/status/buildinfo":    h.buildInfo,
	} {
		mux.Handle("GET "+path, h.serve(answer))
		mux.Handle("POST "+path, h.serve(answer))
	}
	return httputil.CompressionHandler{Handler: mux}
}

// handler answers from what one person may see.
type handler struct {
	api   *API
	store storage.Queryable
	specs func() []*checks.Spec
}

// answer is what a client gets when nothing went wrong.
type answer struct {
	data     any
	warnings annotations.Annotations
	query    string
	// done is called when data has been written, and is never nil.
	done func()
}

type answerFunc func(r *http.Request) (answer, error)

func plain(data any) answer { return answer{data: data, done: func() {}} }

func (h *handler) serve(f answerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			h.refuse(w, badData(err))
			return
		}
		if err := h.enter(r.Context()); err != nil {
			h.refuse(w, err)
			return
		}
		defer h.leave()
		ans, err := f(r)
		if err != nil {
			h.refuse(w, err)
			return
		}
		defer ans.done()
		h.respond(w, ans)
	})
}

// enter waits until fewer than the allowed number of queries run.
func (h *handler) enter(ctx context.Context) error {
	select {
	case h.api.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return promql.ErrQueryCanceled("query queue")
	}
}

func (h *handler) leave() { <-h.api.running }

func (h *handler) respond(w http.ResponseWriter, ans answer) {
	body, err := encode(ans)
	if err != nil {
		h.refuse(w, &apiError{kind: kindInternal, err: err})
		return
	}
	h.write(w, http.StatusOK, body)
}

func (h *handler) refuse(w http.ResponseWriter, err error) {
	e := asAPIError(err)
	body, jsonErr := json.Marshal(map[string]string{"status": "error", "errorType": string(e.kind), "error": e.Error()})
	if jsonErr != nil {
		h.api.logger.Error("An answer can't be encoded", "error", jsonErr)
	}
	h.write(w, e.code(), body)
}

func (h *handler) write(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(body); err != nil {
		h.api.logger.Debug("An answer did not reach the client", "error", err)
	}
}

// kind is what Prometheus calls an errorType.
type kind string

const (
	kindTimeout  kind = "timeout"
	kindCanceled kind = "canceled"
	kindExec     kind = "execution"
	kindBadData  kind = "bad_data"
	kindInternal kind = "internal"
	kindNotReady kind = "unavailable"
)

// statusClientClosed is nginx' code for a client that went away, which Prometheus
// answers with too.
const statusClientClosed = 499

type apiError struct {
	kind kind
	err  error
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func (e *apiError) code() int {
	switch e.kind {
	case kindBadData:
		return http.StatusBadRequest
	case kindExec:
		return http.StatusUnprocessableEntity
	case kindCanceled:
		return statusClientClosed
	case kindTimeout, kindNotReady:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func badData(err error) error { return &apiError{kind: kindBadData, err: err} }

// asAPIError sorts an error of the engine or the storage as Prometheus does.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if _, ok := errors.AsType[promql.ErrQueryCanceled](err); ok || errors.Is(err, context.Canceled) {
		return &apiError{kind: kindCanceled, err: err}
	}
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return &apiError{kind: kindTimeout, err: err}
	}
	storage, inStorage := errors.AsType[promql.ErrStorage](err)
	if errors.Is(err, history.ErrUnavailable) || errors.Is(storage.Err, history.ErrUnavailable) {
		return &apiError{kind: kindNotReady, err: err}
	}
	if inStorage {
		return &apiError{kind: kindInternal, err: err}
	}
	return &apiError{kind: kindExec, err: err}
}
