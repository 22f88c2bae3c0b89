package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Committer commits writes durably. The engine is one: it gathers the writes of
// everybody into few commits.
type Committer interface {
	Commit(ctx context.Context, writes []store.Write) error
}

const (
	firstRecordRetry = time.Second
	maxRecordRetry   = 30 * time.Second
)

// recorder commits what became of deliveries, in order, off the path of sending.
type recorder struct {
	commit   Committer
	log      *slog.Logger
	failures prometheus.Counter
	signal   chan struct{}

	mu    sync.Mutex
	queue []record
}

type record struct {
	writes []store.Write
	// tried is closed after the first attempt to commit, whatever came of it.
	tried chan struct{}
}

func newRecorder(c Committer, log *slog.Logger, failures prometheus.Counter) *recorder {
	return &recorder{commit: c, log: log, failures: failures, signal: make(chan struct{}, 1)}
}

// add queues writes and returns a channel that is closed once they were tried.
func (r *recorder) add(writes ...store.Write) <-chan struct{} {
	tried := make(chan struct{})
	r.mu.Lock()
	r.queue = append(r.queue, record{writes, tried})
	r.mu.Unlock()
	select {
	case r.signal <- struct{}{}:
	default:
	}
	return tried
}

// run commits what is queued until the context ends, and then once more.
func (r *recorder) run(ctx context.Context, grace time.Duration) {
	// kept are writes that could not be committed; they stay before all newer ones.
	var kept []store.Write
	var retry <-chan time.Time
	wait := firstRecordRetry
	for {
		select {
		case <-r.signal:
		case <-retry:
		case <-ctx.Done():
			r.last(ctx, grace, kept)
			return
		}
		if kept = r.flush(ctx, kept); len(kept) == 0 {
			retry, wait = nil, firstRecordRetry
			continue
		}
		retry, wait = time.After(wait), min(2*wait, maxRecordRetry)
	}
}

// last commits what is left when the sender stops.
func (r *recorder) last(ctx context.Context, grace time.Duration, kept []store.Write) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	r.flush(ctx, kept)
}

// flush commits kept and what is queued, and returns what is still to be committed.
func (r *recorder) flush(ctx context.Context, kept []store.Write) []store.Write {
	r.mu.Lock()
	queue := r.queue
	r.queue = nil
	r.mu.Unlock()
	for _, q := range queue {
		kept = append(kept, q.writes...)
	}
	if len(kept) == 0 {
		return nil
	}
	err := r.commit.Commit(ctx, kept)
	for _, q := range queue {
		close(q.tried)
	}
	if err != nil {
		r.failures.Inc()
		r.log.Error("recording deliveries; they are sent again if the collector restarts before this succeeds",
			"writes", len(kept), "error", err)
		return kept
	}
	return nil
}
