package http

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// trace times the steps. Its callbacks come from several goroutines.
type trace struct {
	mu      sync.Mutex
	now     string // the step that is being taken
	started time.Time
	took    map[string]time.Duration
}

func newTrace() *trace {
	return &trace{now: "connect", took: make(map[string]time.Duration)}
}

// begin says that a step begins.
func (t *trace) begin(step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.started = step, time.Now()
}

// end adds the time since begin to the step's.
func (t *trace) end(step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == step {
		t.took[step] += time.Since(t.started)
	}
}

// current is the step that was begun last.
func (t *trace) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// each gives the steps that were completed, in order.
func (t *trace) each(f func(step string, d time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, step := range []string{"dns", "connect", "tls", "first_byte", "body"} {
		if d, ok := t.took[step]; ok {
			f(step, d)
		}
	}
}

// attach has the steps that net/http takes itself reported to the trace.
func (t *trace) attach(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { t.begin("tls") },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				t.end("tls")
			}
		},
		GotConn:              func(httptrace.GotConnInfo) { t.begin("first_byte") },
		GotFirstResponseByte: func() { t.end("first_byte") },
	})
}
