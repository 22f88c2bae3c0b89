// Package expose shows what the collector knows to a Prometheus that scrapes: the
// collector's own metrics, a list of hosts for http_sd_configs
// (https://prometheus.io/docs/prometheus/latest/http_sd/), and under
// /metrics/hosts/<id> the newest values of each.
package expose

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// ErrUnknownHost is what a Source answers when the customer has no such host.
var ErrUnknownHost = errors.New("no such host")

// Source tells of hosts and their newest results. Customer "" stands for all.
type Source interface {
	Hosts(ctx context.Context, customer string) ([]Host, error)
	// Latest returns a host and its check states, or ErrUnknownHost.
	Latest(ctx context.Context, customer, hostID string) (Host, []State, error)
}

// Host is a machine.
type Host struct {
	ID, Name, Customer, Site string
	// Role is server or workstation, OS a value of GOOS.
	Role, OS  string
	Labels    map[string]string
	Connected bool
	// Silent says that the host should be connected and has not been for too long.
	Silent bool
	// OpenIncidents is given by Latest.
	OpenIncidents int
	// LastSeen is when its last result came; zero when none did.
	LastSeen time.Time
}

// State is the newest result of one check state.
type State struct {
	Check, Instance, Item string
	Status                checks.Status
	Level                 rules.Level
	LastSeen              time.Time
	Metrics               []Metric
}

// Metric is a figure with what its check's declaration says of it: Help and Unit are
// empty where there is none.
type Metric struct {
	checks.Metric

	Help, Unit string
}

// Options of an Exposer. Source must be set.
type Options struct {
	Source Source
	// Address is the host:port under which Prometheus reaches the collector's pages,
	// Scheme http or https. Without an address it is the one that was asked.
	Address, Scheme string
	Logger          *slog.Logger
}

// Exposer answers a Prometheus that scrapes.
type Exposer struct{ options Options }

// New returns an Exposer.
func New(o Options) *Exposer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Scheme == "" {
		o.Scheme = "http"
	}
	return &Exposer{options: o}
}

// Handler answers /sd and /metrics/hosts/{id} with one customer's hosts. Without a
// customer there are none.
func (e *Exposer) Handler(customer string) http.Handler {
	if customer == "" {
		return (&handler{Options: e.options, sees: func(Host) bool { return false }}).mux()
	}
	return (&handler{Options: e.options, customer: customer, sees: func(h Host) bool { return h.Customer == customer }}).mux()
}

// HandlerOfAll answers with every customer's hosts; it is for the MSP's own Prometheus.
func (e *Exposer) HandlerOfAll() http.Handler {
	return (&handler{Options: e.options, sees: func(Host) bool { return true }}).mux()
}

// handler answers one asker. It looks itself at what the source gives, so that a
// mistake there shows nobody another customer.
type handler struct {
	Options
	customer string
	sees     func(Host) bool
}

func (h *handler) mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sd", h.discovery)
	mux.HandleFunc("GET /metrics/hosts/{id}", h.hostMetrics)
	return mux
}

func (h *handler) fail(w http.ResponseWriter, what string, err error) {
	h.Logger.Error("Prometheus gets no answer", "asked", what, "error", err)
	http.Error(w, "the collector could not answer; its log says why", http.StatusInternalServerError)
}

// NewRegistry returns a registry that holds what every process tells of itself, and
// wacht_build_info with the collector's version.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "wacht_build_info",
		Help:        "Always 1; the label is the collector's version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// Own serves the collector's own metrics. A metric that fails is left out and logged:
// the others are needed all the more then.
func Own(g prometheus.Gatherer, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	})
}
