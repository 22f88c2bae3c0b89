package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
)

// receive takes in what the collector sends until the stream ends.
func (s *stream) receive(ctx context.Context) error {
	for {
		msg, err := s.rpc.Recv()
		if err != nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
		if err := s.handle(ctx, msg); err != nil {
			return err
		}
	}
}

func (s *stream) handle(ctx context.Context, msg *agentpb.CollectorMessage) error {
	switch m := msg.GetMessage().(type) {
	case *agentpb.CollectorMessage_Ack:
		s.acknowledged(m.Ack.GetCursor())
	case *agentpb.CollectorMessage_Policy:
		s.apply(ctx, m.Policy)
	case *agentpb.CollectorMessage_DeclarationsWanted:
		s.declare(m.DeclarationsWanted.GetChecks())
	case *agentpb.CollectorMessage_Refused:
		if m.Refused.GetCode() != agentpb.Refused_RUN_INVALID {
			return refusal(m.Refused)
		}
		s.u.opts.Logger.Error("the collector refuses a run", "sequence", m.Refused.GetSequence(), "reason", m.Refused.GetReason())
		s.u.opts.Spool.Refuse(m.Refused.GetEpoch(), m.Refused.GetSequence())
		s.signal()
	}
	return nil // what a newer collector sends besides is not for this agent
}

// apply has a policy applied beside the stream: discovery may take its time.
func (s *stream) apply(ctx context.Context, p *agentpb.Policy) {
	if s.u.opts.Policy == nil {
		return
	}
	go func() {
		if answer := s.u.opts.Policy(ctx, p); answer != nil {
			s.queue(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_PolicyAnswer{PolicyAnswer: answer}})
		}
	}()
}

// declare answers with one message per declaration, so that none is too large. Each is
// told once a stream, whatever is asked: a collector can't make the agent hold many.
func (s *stream) declare(names []string) {
	for _, name := range names {
		if s.declared[name] || len(s.declared) == maxDeclared {
			continue
		}
		s.declared[name] = true
		data, err := s.u.opts.Declaration(name)
		if err == nil && len(data) > checks.MaxDeclarationBytes {
			err = fmt.Errorf("it has %d bytes; a collector takes at most %d", len(data), checks.MaxDeclarationBytes)
		}
		if err != nil {
			s.u.opts.Logger.Warn("a declaration that the collector asks for can't be sent", "check", name, "error", err)
			continue
		}
		s.queue(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_Declarations{Declarations: &agentpb.Declarations{
			Declarations: []*agentpb.Declaration{{Check: name, Yaml: data}},
		}}})
	}
}

// maxDeclared bounds the names that a collector may ask for in a stream.
const maxDeclared = 256

// maxControl bounds the answers that wait: a collector that asks without reading
// gets no more.
const maxControl = 1024

func (s *stream) queue(msg *agentpb.AgentMessage) {
	s.mu.Lock()
	if len(s.control) < maxControl {
		s.control = append(s.control, msg)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) acknowledged(c *agentpb.Cursor) {
	s.u.opts.Spool.Ack(c)
	if s.u.opts.Acked != nil {
		s.u.opts.Acked(c, false)
	}
	s.u.mu.Lock()
	s.u.status.LastAck = time.Now()
	s.u.mu.Unlock()
	if c.GetLane() == agentpb.Lane_BACKLOG {
		s.land(c)
		s.signal()
	}
}

// land takes archived messages off the flight, and adapts the window to how long
// they took.
func (s *stream) land(c *agentpb.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.flights) > 0 && s.flights[0].epoch == c.GetEpoch() && s.flights[0].last <= c.GetArchived() {
		f := s.flights[0]
		s.flights = s.flights[1:]
		s.flying -= f.bytes
		switch took := time.Since(f.at); {
		case took < quick:
			s.window = min(s.window+f.bytes, widest)
		case took > slow:
			s.window = max(s.window-f.bytes, smallest)
		}
	}
}
