package engine

import (
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// outgoing is what waits to be sent on a stream. Acknowledgements of one lane
// overtake each other, so a slow stream gathers one cursor a lane and no more.
type outgoing struct {
	ready chan struct{}

	mu       sync.Mutex
	cursors  map[cursorKey]laneMark // as last acknowledged
	moved    map[cursorKey]struct{} // since Messages was last called
	messages []*agentpb.CollectorMessage
	closed   bool
	done     chan struct{}
}

type cursorKey struct {
	epoch uint64
	lane  int
}

// maxOutgoing bounds the messages, other than acknowledgements, that wait for one
// stream; a stream that does not take them is ended.
const maxOutgoing = 1000

func newOutgoing() *outgoing {
	return &outgoing{
		ready:   make(chan struct{}, 1),
		cursors: make(map[cursorKey]laneMark),
		moved:   make(map[cursorKey]struct{}),
		done:    make(chan struct{}),
	}
}

func (o *outgoing) send(m *agentpb.CollectorMessage) {
	o.mu.Lock()
	full := len(o.messages) >= maxOutgoing
	if !full {
		o.messages = append(o.messages, m)
	}
	o.mu.Unlock()
	if full {
		o.close()
		return
	}
	o.signal()
}

// ack advances a lane's cursor; it never goes back.
func (o *outgoing) ack(key cursorKey, mark laneMark) {
	o.mu.Lock()
	c := o.cursors[key]
	o.cursors[key] = laneMark{Decided: max(c.Decided, mark.Decided), Archived: max(c.Archived, mark.Archived)}
	o.moved[key] = struct{}{}
	o.mu.Unlock()
	o.signal()
}

// archived advances a lane's archive, to be sent with the next acknowledgement or at
// the next nudge.
func (o *outgoing) archived(key cursorKey, seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.cursors[key]
	if seq <= c.Archived {
		return
	}
	c.Archived = seq
	o.cursors[key] = c
	o.moved[key] = struct{}{}
}

// nudge has what waits sent.
func (o *outgoing) nudge() {
	o.mu.Lock()
	waits := len(o.moved) > 0
	o.mu.Unlock()
	if waits {
		o.signal()
	}
}

func (o *outgoing) signal() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.done)
	}
}

func (o *outgoing) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// Ready holds a token when Messages may have something.
func (s *Session) Ready() <-chan struct{} { return s.out.ready }

// Done is closed when the session is over: another took its place, the host was
// revoked, or its history has to be sent again.
func (s *Session) Done() <-chan struct{} { return s.out.done }

// Messages takes what waits to be sent.
func (s *Session) Messages() []*agentpb.CollectorMessage {
	o := s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.messages
	o.messages = nil
	for key := range o.moved {
		c := o.cursors[key]
		out = append(out, &agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Ack{Ack: &agentpb.Ack{Cursor: &agentpb.Cursor{
			Epoch: key.epoch, Lane: agentpb.Lane(key.lane), Decided: c.Decided, Archived: c.Archived,
		}}}})
	}
	clear(o.moved)
	return out
}

// Close ends the session; the host is unheard of from now on.
func (s *Session) Close() {
	s.out.close()
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.host.session == s {
		s.host.session = nil
		// It was here until now, however long ago its newest result came.
		s.host.mark.Seen = time.Now()
	}
}
