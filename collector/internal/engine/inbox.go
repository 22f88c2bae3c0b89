package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// maxQueued bounds the results that wait to be applied, over all hosts. A stream
// that would go over it waits, and by gRPC's flow control so does its agent.
const maxQueued = 100_000

// maxGroup bounds the results of one commit, so that an acknowledgement under full
// load does not wait for more than a few of them.
const maxGroup = 8_000

// item is one thing to apply: a batch of a session, or a step with its answer.
type item struct {
	session *Session
	batch   *agentpb.Batch
	results int
	// ctx is that of whoever waits for the step: when they have left, it is not done.
	ctx  context.Context
	do   func(*group) error
	done func(error)
}

// apply does the item's step in the group. An error of a step is answered at once:
// it changed nothing, so there is nothing to wait for.
func (it *item) apply(e *Engine, g *group) {
	if it.batch != nil {
		e.applyBatch(g, it.session, it.batch)
		return
	}
	err := it.ctx.Err()
	if err == nil {
		err = it.do(g)
	}
	if err != nil {
		it.done(err)
		return
	}
	g.waiting = append(g.waiting, it.done)
}

// inbox is the queue between streams and the apply loop.
type inbox struct {
	ready chan struct{} // holds a token while there may be items

	mu      sync.Mutex
	items   []item
	results int
	room    chan struct{} // closed when room was made
	closed  bool
}

func newInbox() *inbox {
	return &inbox{ready: make(chan struct{}, 1), room: make(chan struct{})}
}

func (q *inbox) put(ctx context.Context, it item) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return ErrStopped
		}
		if q.results < maxQueued {
			q.items = append(q.items, it)
			q.results += it.results
			q.mu.Unlock()
			q.signal()
			return nil
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("waiting for room: %w", ctx.Err())
		}
	}
}

func (q *inbox) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take removes what one commit should carry.
func (q *inbox) take() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, results := 0, 0
	for n < len(q.items) && results < maxGroup {
		results += q.items[n].results
		n++
	}
	out := q.items[:n:n]
	q.items = q.items[n:]
	q.results -= results
	if len(q.items) > 0 {
		q.signal()
	}
	close(q.room)
	q.room = make(chan struct{})
	return out
}

func (q *inbox) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *inbox) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

func (q *inbox) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
