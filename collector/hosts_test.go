package collector

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

func startedBackend(t *testing.T) backend {
	t.Helper()
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadPolicy("", specs)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h, err := history.Open(t.TempDir(), history.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Options{
		Store: memstore.New(), History: h, Policy: p, Declarations: specs, Router: notify.NewRouter(nil),
		Wake: func([]notify.Delivery) {}, Logger: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() {
		e.Stop()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return backend{e}
}

func (b backend) mustJoin(t *testing.T, customer, id, hostname string) inventory.Host {
	t.Helper()
	h, err := b.engine.Join(t.Context(), engine.Newcomer{
		ID: id, Customer: customer, Site: "utrecht", Machine: &agentpb.Machine{Hostname: hostname}, CertUntil: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A name that two customers have means neither; whoever sees one customer means that
// customer's.
func TestNameOfTwoHostsMeansNeither(t *testing.T) {
	b := startedBackend(t)
	b.mustJoin(t, "acme", "ID-ACME", "web1")
	b.mustJoin(t, "zenith", "ID-ZENITH", "web1")
	b.mustJoin(t, "zenith", "ID-ALONE", "db1")
	all, zenith := api.Scope{}, api.Scope{Customer: "zenith"}

	err := b.Revoke(t.Context(), all, "web1", "alice")
	if api.Status(err) != http.StatusUnprocessableEntity || !errors.Is(err, desk.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, says := range []string{`2 hosts are called "web1"`, "acme/web1 is ID-ACME", "zenith/web1 is ID-ZENITH"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing from: %v", says, err)
		}
	}
	if _, err := b.Host(t.Context(), all, "web1"); !errors.Is(err, desk.ErrInvalid) {
		t.Errorf("the host of that name is shown: %v", err)
	}
	if _, err := b.Transitions(t.Context(), all, "web1", time.Time{}, 10); !errors.Is(err, desk.ErrInvalid) {
		t.Errorf("transitions of that name are shown: %v", err)
	}
	for _, c := range []struct {
		scope    api.Scope
		name, id string
	}{{all, "db1", "ID-ALONE"}, {all, "ID-ACME", "ID-ACME"}, {zenith, "web1", "ID-ZENITH"}} {
		if h, err := b.Host(t.Context(), c.scope, c.name); err != nil || h.ID != c.id {
			t.Errorf("%s means %s, %v", c.name, h.ID, err)
		}
	}
	if _, err := b.Host(t.Context(), zenith, "ID-ACME"); !isNotFound(err) {
		t.Errorf("another customer's host is shown: %v", err)
	}
	if err := b.Revoke(t.Context(), all, "ID-ZENITH", "alice"); err != nil {
		t.Fatal(err)
	}
	for _, h := range b.engine.Hosts("") {
		if h.RevokedAt.IsZero() == (h.ID == "ID-ZENITH") {
			t.Errorf("%s: revoked at %v", h.ID, h.RevokedAt)
		}
	}
}
