package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/storetest"
)

func told(number string, revision int, event string) Notice {
	return Notice{
		Key: fmt.Sprintf("%s:%d:%s", number, revision, event), Event: event, At: time.Unix(1767225600, 0).UTC(),
		Incident: incident.Incident{
			Number: number, Revision: revision, Customer: "acme", Priority: "P2", Title: "The disk is full",
			Timeline: []incident.Entry{{Event: "opened"}},
		},
		Lines: []string{"P2 " + number + " " + event},
	}
}

func decaying(number string, revision int, event string) Notice {
	n := told(number, revision, event)
	n.Incident = incident.Incident{}
	n.Problem = &problem.Problem{Number: number, Revision: revision, Customer: "acme", Priority: "P4", Title: "The disk will be full"}
	return n
}

// fakeChannel keeps what it is sent, and answers what it is told to.
type fakeChannel struct {
	mu   sync.Mutex
	got  []Delivery
	errs []error
	// during, when set, runs before the answer.
	during func(context.Context, Delivery) error
}

func (f *fakeChannel) Send(ctx context.Context, d Delivery) error {
	f.mu.Lock()
	f.got = append(f.got, d)
	var err error
	if len(f.errs) > 0 {
		err, f.errs = f.errs[0], f.errs[1:]
	}
	during := f.during
	f.mu.Unlock()
	if during != nil {
		err = errors.Join(err, during(ctx, d))
	}
	return err
}

func (*fakeChannel) Close() error { return nil }

func (f *fakeChannel) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, d := range f.got {
		out = append(out, d.Notice.Key)
	}
	return out
}

// direct commits to a store without terms.
type direct struct{ store store.Store }

func (d direct) Commit(ctx context.Context, writes []store.Write) error {
	return d.store.Commit(ctx, nil, writes)
}

// desk is a sender with all around it.
type desk struct {
	t        *testing.T
	store    *storetest.Faulty
	channels map[string]notice.Channel
	config   Config
	registry *prometheus.Registry
	sender   *Sender
	// reader is where the outbox is read; the store unless given.
	reader store.Reader
	stop   func()
}

// start starts a sender on the store, as after a restart of the collector.
func (d *desk) start() {
	d.t.Helper()
	reader := d.reader
	if reader == nil {
		reader = d.store
	}
	d.registry = prometheus.NewPedanticRegistry()
	s, err := NewSender(SenderOptions{
		Config: d.config, Channels: d.channels, Reader: reader, Commit: direct{d.store},
		Logger: slog.New(slog.DiscardHandler), Registerer: d.registry,
		Jitter: func() float64 { return 0.5 },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	d.sender = s
	d.stop = func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	}
}

// tell commits the deliveries of a notice as the engine does, and wakes the sender.
func (d *desk) tell(n Notice) []Delivery {
	d.t.Helper()
	deliveries := NewRouter(d.config).Route(time.Now(), n)
	var writes []store.Write
	for _, delivery := range deliveries {
		w, err := delivery.Write()
		if err != nil {
			d.t.Fatal(err)
		}
		writes = append(writes, w)
	}
	if err := d.store.Store.Commit(d.t.Context(), nil, writes); err != nil {
		d.t.Fatal(err)
	}
	d.sender.Wake(deliveries)
	return deliveries
}

func (d *desk) rows(table *store.Table) []Delivery {
	d.t.Helper()
	var out []Delivery
	for row, err := range (store.Typed[Delivery]{Table: table}).ScanAll(d.t.Context(), d.store) {
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, row.Value)
	}
	return out
}
