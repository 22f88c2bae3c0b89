// Package collectortest runs collectors for tests, asks them what they hold, and has
// an oracle that knows what they must.
package collectortest

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/wacht-io/wacht/collector"
)

// Collector is a collector in the test's own process.
type Collector struct {
	Client

	AgentsAddr string
	stop       func(context.Context) error
}

// Start starts a collector on loopback and ends it with the test.
func Start(t testing.TB, o Options) *Collector {
	t.Helper()
	dataDir, configFile := o.write(t)
	log := slog.New(slog.DiscardHandler)
	if o.Log {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	ctx := context.WithoutCancel(t.Context())
	c, err := collector.New(ctx, collector.Options{
		ConfigFile: configFile, DataDir: dataDir, Version: "test", Logger: log,
		WebListener: loopback(t), AgentsListener: loopback(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return &Collector{Client: Client{DataDir: dataDir, WebAddr: c.WebAddr()}, AgentsAddr: c.AgentsAddr(), stop: c.Stop}
}

// Stop ends the collector before the test does.
func (c *Collector) Stop(ctx context.Context) error { return c.stop(ctx) }

func loopback(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
