package notify

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/notify/webhook"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// BenchmarkWakeToWebhook measures from the commit to the arrival of the request at the
// receiver, over a connection that is open.
func BenchmarkWakeToWebhook(b *testing.B) {
	arrived := make(chan time.Time, 1)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- time.Now() }))
	defer server.Close()
	secret := filepath.Join(b.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o600); err != nil {
		b.Fatal(err)
	}
	config := Config{{
		Common:  Common{Name: "hook", Type: "webhook"},
		Options: &webhook.Options{URL: server.URL, SecretFile: secret, AllowPrivate: true},
	}}
	channels, err := config.Open(notice.Env{UserAgent: "wacht"})
	if err != nil {
		b.Fatal(err)
	}
	kept := memstore.New()
	sender, err := NewSender(SenderOptions{
		Config: config, Channels: channels, Reader: kept, Commit: direct{kept},
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	router := NewRouter(config)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		deliveries := router.Route(time.Now(), told("INC-1", i, "reopened"))
		start := time.Now()
		sender.Wake(deliveries)
		took = append(took, (<-arrived).Sub(start))
	}
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
