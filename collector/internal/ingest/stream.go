package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/engine"
)

// duplex is the collector's side of a stream.
type duplex = grpc.BidiStreamingServer[agentpb.AgentMessage, agentpb.CollectorMessage]

const (
	// helloWithin is how long a stream may be open before its hello.
	helloWithin = 20 * time.Second
	// flushWithin is how long a client gets to read what is left for it when its
	// stream ends. One that does not read loses its connection.
	flushWithin = time.Second
	// settleWithin is how long the acknowledgement of an agent's last runs is waited
	// for when it leaves; what is not acknowledged it sends again.
	settleWithin = 500 * time.Millisecond
	lookEvery    = 20 * time.Millisecond
)

// Stream takes a host's results in until either side ends it.
func (s *Server) Stream(stream duplex) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	host, err := s.identify(ctx)
	if err != nil {
		return refuseUnidentified(stream, err)
	}
	hello, err := awaitHello(stream)
	if err != nil {
		return err
	}
	session, welcome, err := s.engine.Connect(ctx, host.ID, hello)
	if refused, ok := errors.AsType[*engine.RefusedError](err); ok {
		s.log.Warn("a stream was refused", "host", host.Name, "id", host.ID, "reason", refused.Reason)
		return refuse(stream, refused)
	}
	if err != nil {
		return s.refusal("opening a stream", err)
	}
	defer session.Close()
	return carry(ctx, stream, session, welcome)
}

func awaitHello(stream duplex) (*agentpb.Hello, error) {
	late := time.AfterFunc(helloWithin, func() { cut(stream.Context()) })
	defer late.Stop()
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if hello := first.GetHello(); hello != nil {
		return hello, nil
	}
	return nil, status.Error(codes.InvalidArgument, "the first message of a stream is a hello")
}

// refuse says why before the stream ends, as a message that the agent acts on.
func refuse(stream duplex, r *engine.RefusedError) error {
	return stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{
		Refused: &agentpb.Refused{Code: r.Code, Reason: r.Reason},
	}})
}

// refuseUnidentified tells a host that was revoked so; whoever has no certificate
// gets an error.
func refuseUnidentified(stream duplex, err error) error {
	if status.Code(err) != codes.PermissionDenied {
		return err
	}
	return refuse(stream, &engine.RefusedError{Code: agentpb.Refused_REVOKED, Reason: status.Convert(err).Message()})
}

// carry reads and writes beside each other, so that neither a client that does not
// read nor one that does not write keeps a session that is over from ending.
func carry(ctx context.Context, stream duplex, session *engine.Session, welcome *agentpb.Welcome) error {
	r := reader{stream: stream, session: session, submitted: make(map[lane]uint64)}
	w := newWriter(stream, session)
	received, written := make(chan error, 1), make(chan error, 1)
	go func() { written <- w.run(welcome) }()
	go func() { received <- r.run(ctx) }()
	var last leaving
	var end error
	select {
	case err := <-written:
		return err
	case <-session.Done():
		end = status.Error(codes.Aborted, "the collector ended this stream; connect again")
	case end = <-received:
		if errors.Is(end, errGone) {
			w.leave <- last
			return nil
		}
		if errors.Is(end, io.EOF) {
			last, end = leaving{settleWithin, r.submitted}, nil
		}
	}
	w.leave <- last
	late := time.NewTimer(last.patience + flushWithin)
	defer late.Stop()
	select {
	case err := <-written:
		return cmp.Or(end, err)
	case <-late.C:
		// It does not read, and the stream's end would wait behind what it has not read.
		cut(ctx)
		return end
	}
}

// lane is one lane of an epoch.
type lane struct {
	epoch uint64
	lane  agentpb.Lane
}

// leaving asks the writer to end: at once, or when what was submitted has been
// acknowledged as archived, for which it waits no longer than patience.
type leaving struct {
	patience  time.Duration
	submitted map[lane]uint64
}

// writer sends what a session has to say.
type writer struct {
	stream  duplex
	session *engine.Session
	leave   chan leaving
	acked   map[lane]uint64
}

func newWriter(stream duplex, session *engine.Session) *writer {
	return &writer{stream: stream, session: session, leave: make(chan leaving, 1), acked: make(map[lane]uint64)}
}

func (w *writer) run(welcome *agentpb.Welcome) error {
	if err := w.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	for {
		select {
		case l := <-w.leave:
			return w.lastWords(l)
		case <-w.session.Ready():
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

func (w *writer) flush() error {
	for _, m := range w.session.Messages() {
		if err := w.stream.Send(m); err != nil {
			return err
		}
		if c := m.GetAck().GetCursor(); c != nil {
			w.acked[lane{c.Epoch, c.Lane}] = c.Archived
		}
	}
	return nil
}

func (w *writer) lastWords(l leaving) error {
	late := time.NewTimer(l.patience)
	defer late.Stop()
	// What is archived waits a while for company, without a word to Ready.
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for over := l.patience == 0; ; {
		if err := w.flush(); err != nil || over || w.settled(l.submitted) {
			return err
		}
		select {
		case <-w.session.Ready():
		case <-look.C:
		case <-w.session.Done():
			over = true
		case <-late.C:
			over = true
		}
	}
}

func (w *writer) settled(submitted map[lane]uint64) bool {
	for l, sequence := range submitted {
		if w.acked[l] < sequence {
			return false
		}
	}
	return true
}

// errGone says that the agent's connection is gone.
var errGone = errors.New("the agent is gone")

// reader takes in what an agent sends.
type reader struct {
	stream    duplex
	session   *engine.Session
	submitted map[lane]uint64 // the newest sequence number that came
}

// run reads until the agent has said everything (io.EOF), is gone, or breaks the
// contract.
func (r *reader) run(ctx context.Context) error {
	for {
		m, err := r.stream.Recv()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return errGone
		}
		if err := Take(ctx, r.session, m); err != nil {
			if errors.Is(err, engine.ErrStopped) {
				return status.Error(codes.Unavailable, err.Error())
			}
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if b := m.GetBatch(); len(b.GetRuns()) > 0 {
			l := lane{b.Epoch, b.Lane}
			r.submitted[l] = max(r.submitted[l], b.Runs[len(b.Runs)-1].Sequence)
		}
	}
}

// Take deals with one message of a stream after its hello. An error ends the stream.
func Take(ctx context.Context, session *engine.Session, m *agentpb.AgentMessage) error {
	switch m := m.Message.(type) {
	case *agentpb.AgentMessage_Batch:
		return session.Submit(ctx, m.Batch)
	case *agentpb.AgentMessage_Definitions:
		return session.Define(m.Definitions)
	case *agentpb.AgentMessage_Gap:
		return session.Gap(ctx, m.Gap)
	case *agentpb.AgentMessage_PolicyAnswer:
		session.PolicyAnswer(m.PolicyAnswer)
	case *agentpb.AgentMessage_Declarations:
		return session.Declare(ctx, m.Declarations.GetDeclarations())
	case *agentpb.AgentMessage_Goodbye:
		return session.Goodbye(ctx, m.Goodbye.Reason)
	case *agentpb.AgentMessage_Hello:
		return fmt.Errorf("a second hello in one stream")
	}
	// What an agent of a later version says beyond this is left alone.
	return nil
}
