package uplinktest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
)

func parse(der []byte) (*x509.CertificateRequest, [sha256.Size]byte, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, [sha256.Size]byte{}, status.Error(codes.InvalidArgument, err.Error())
	}
	return csr, sha256.Sum256(csr.RawSubjectPublicKeyInfo), nil
}

// Join implements the service.
func (c *Collector) Join(ctx context.Context, req *agentpb.JoinRequest) (*agentpb.JoinResponse, error) {
	csr, key, err := parse(req.GetCsr())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.GetToken() == "" {
		if _, err := c.client(ctx); err != nil {
			return nil, err
		}
	} else if !c.tokens[req.GetToken()] {
		return nil, status.Error(codes.PermissionDenied, "the token is unknown, was used, or has ended: make a new one")
	}
	delete(c.tokens, req.GetToken())
	h := &Host{
		ID: fmt.Sprintf("host%d", len(c.hosts)+1), key: key,
		Cursors: map[uint64]*[2]uint64{}, Declarations: map[string]string{},
	}
	c.hosts[h.ID] = h
	chain, err := c.issue(h, csr)
	return &agentpb.JoinResponse{HostId: h.ID, Chain: chain}, err
}

// Renew implements the service.
func (c *Collector) Renew(_ context.Context, req *agentpb.RenewRequest) (*agentpb.RenewResponse, error) {
	csr, key, err := parse(req.GetCsr())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[req.GetHostId()]
	if h == nil || h.key != key || h.Revoked {
		return nil, status.Error(codes.PermissionDenied, "this host is unknown or revoked")
	}
	h.Renewals++
	chain, err := c.issue(h, csr)
	return &agentpb.RenewResponse{Chain: chain}, err
}

// client finds the host that a certificate is of.
func (c *Collector) client(ctx context.Context) (*Host, error) {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, status.Error(codes.Unauthenticated, "a client certificate is needed")
	}
	id, err := agentpb.HostID(info.State.PeerCertificates[0])
	if err != nil || c.hosts[id] == nil {
		return nil, status.Error(codes.Unauthenticated, "this host is unknown")
	}
	return c.hosts[id], nil
}

type session struct {
	c      *Collector
	h      *Host
	stream agentpb.Collector_StreamServer
	tasks  []*agentpb.TaskDefinition
	states []*agentpb.StateDefinition
	last   map[[2]uint32]string // by lane and state
}

// Stream implements the service.
func (c *Collector) Stream(stream agentpb.Collector_StreamServer) error {
	s := &session{c: c, stream: stream, last: map[[2]uint32]string{}}
	if err := s.greet(); err != nil {
		return err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the agent left
		}
		if err := s.take(msg); err != nil {
			return err
		}
	}
}

func (s *session) refuse(code agentpb.Refused_Code) error {
	_ = s.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{Refused: &agentpb.Refused{Code: code, Reason: "because"}}})
	return status.Error(codes.PermissionDenied, "refused")
}

func (s *session) greet() error {
	msg, err := s.stream.Recv()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	hello := msg.GetHello()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.h, err = c.client(s.stream.Context()); err != nil {
		return err
	}
	switch {
	case hello.GetProtocol() != c.Protocol:
		return s.refuse(agentpb.Refused_PROTOCOL_UNKNOWN)
	case s.h.Revoked:
		return s.refuse(agentpb.Refused_REVOKED)
	case s.h.Pending:
		return s.refuse(agentpb.Refused_PENDING)
	case hello.GetVisit() != s.h.visit:
		return s.refuse(agentpb.Refused_EPOCH_REUSED)
	}
	welcome := &agentpb.Welcome{HostId: s.h.ID, Customer: "example", Site: "main", NowMs: c.now().UnixMilli(), MaxMessageBytes: c.MaxMessage}
	for _, e := range hello.GetEpochs() {
		for lane, at := range s.cursor(e.GetEpoch()) {
			if at > e.GetNewest() {
				return s.refuse(agentpb.Refused_EPOCH_REUSED)
			}
			welcome.Cursors = append(welcome.Cursors, &agentpb.Cursor{Epoch: e.GetEpoch(), Lane: agentpb.Lane(lane), Decided: at, Archived: at})
		}
	}
	defer c.tell()
	s.h.visit++
	s.h.Streams++
	s.h.Hello = hello
	welcome.Visit = s.h.visit
	if err := s.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Welcome{Welcome: welcome}}); err != nil {
		return fmt.Errorf("sending the welcome: %w", err)
	}
	return s.ask(hello)
}

func (s *session) ask(hello *agentpb.Hello) error {
	if p := s.c.Policy; p.GetRevision() != hello.GetPolicyRevision() {
		if err := s.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Policy{Policy: p}}); err != nil {
			return fmt.Errorf("sending the policy: %w", err)
		}
	}
	if len(s.c.Wanted) > 0 {
		err := s.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_DeclarationsWanted{DeclarationsWanted: &agentpb.DeclarationsWanted{Checks: s.c.Wanted}}})
		if err != nil {
			return fmt.Errorf("asking: %w", err)
		}
	}
	return nil
}

func (s *session) cursor(epoch uint64) *[2]uint64 {
	if s.h.Cursors[epoch] == nil {
		s.h.Cursors[epoch] = new([2]uint64)
	}
	return s.h.Cursors[epoch]
}

func (s *session) take(msg *agentpb.AgentMessage) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	defer s.c.tell()
	size := proto.Size(msg)
	s.c.largest = max(s.c.largest, size)
	if size > int(s.c.MaxMessage) {
		return status.Errorf(codes.ResourceExhausted, "a message of %d bytes", size)
	}
	switch m := msg.GetMessage().(type) {
	case *agentpb.AgentMessage_Definitions:
		return s.define(m.Definitions)
	case *agentpb.AgentMessage_Batch:
		return s.batch(m.Batch)
	case *agentpb.AgentMessage_Gap:
		s.h.Gaps = append(s.h.Gaps, m.Gap)
	case *agentpb.AgentMessage_PolicyAnswer:
		s.h.Answers = append(s.h.Answers, m.PolicyAnswer)
	case *agentpb.AgentMessage_Goodbye:
		s.h.Goodbye = m.Goodbye
	case *agentpb.AgentMessage_Declarations:
		for _, d := range m.Declarations.GetDeclarations() {
			s.h.Declarations[d.GetCheck()] = string(d.GetYaml())
		}
	default:
		return status.Errorf(codes.InvalidArgument, "an unexpected %T", m)
	}
	return nil
}

func (s *session) define(d *agentpb.Definitions) error {
	for _, t := range d.GetTasks() {
		if s.tasks = append(s.tasks, t); int(t.GetNumber()) != len(s.tasks) {
			return status.Errorf(codes.InvalidArgument, "task %d is out of order", t.GetNumber())
		}
	}
	for _, st := range d.GetStates() {
		if s.states = append(s.states, st); int(st.GetNumber()) != len(s.states) || int(st.GetTask()) > len(s.tasks) {
			return status.Errorf(codes.InvalidArgument, "state %d is out of order", st.GetNumber())
		}
	}
	return nil
}

func (s *session) batch(b *agentpb.Batch) error {
	at := s.cursor(b.GetEpoch())
	before := uint64(0)
	for _, run := range b.GetRuns() {
		r, err := s.unpack(b, run)
		if err != nil {
			return err
		}
		if r.Sequence <= before {
			return status.Error(codes.InvalidArgument, "a batch is out of order")
		}
		before = r.Sequence
		if r.Sequence <= at[b.GetLane()] {
			continue // seen before
		}
		at[b.GetLane()] = r.Sequence
		if s.c.Refuse[r.Sequence] {
			_ = s.stream.Send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{Refused: &agentpb.Refused{
				Code: agentpb.Refused_RUN_INVALID, Reason: "no", Epoch: b.GetEpoch(), Sequence: r.Sequence,
			}}})
			continue
		}
		s.h.Runs = append(s.h.Runs, r)
	}
	return s.ack(b)
}

func (s *session) ack(b *agentpb.Batch) error {
	if s.c.Hold {
		return nil
	}
	to := s.cursor(b.GetEpoch())[b.GetLane()]
	msg := &agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Ack{Ack: &agentpb.Ack{
		Cursor: &agentpb.Cursor{Epoch: b.GetEpoch(), Lane: b.GetLane(), Decided: to, Archived: to},
	}}}
	times := 1
	if s.c.Twice {
		times = 2
	}
	for range times {
		if err := s.stream.Send(msg); err != nil {
			return fmt.Errorf("acknowledging: %w", err)
		}
	}
	return nil
}

func (s *session) unpack(b *agentpb.Batch, run *agentpb.PackedRun) (Received, error) {
	r := Received{RunID: RunID{b.GetEpoch(), run.GetSequence()}, Lane: b.GetLane(), PlannedMs: run.GetPlannedMs(), Complete: run.GetComplete(), At: time.Now()}
	if n := int(run.GetTask()); n < 1 || n > len(s.tasks) {
		return r, status.Errorf(codes.InvalidArgument, "task %d is not defined", n)
	}
	task := s.tasks[run.GetTask()-1]
	r.Check, r.Instance = task.GetCheck(), task.GetInstance()
	for _, p := range run.GetResults() {
		n := p.GetState()
		if n < 1 || int(n) > len(s.states) || s.states[n-1].GetTask() != run.GetTask() {
			return r, status.Errorf(codes.InvalidArgument, "state %d is not one of task %d", n, run.GetTask())
		}
		if len(p.GetValues()) != len(s.states[n-1].GetMetrics()) {
			return r, status.Errorf(codes.InvalidArgument, "%d values for state %d", len(p.GetValues()), n)
		}
		key := [2]uint32{uint32(b.GetLane()), n}
		if p.Summary != nil {
			s.last[key] = p.GetSummary()
		}
		summary, known := s.last[key]
		if !known {
			return r, status.Errorf(codes.InvalidArgument, "state %d never had a summary", n)
		}
		r.Items = append(r.Items, s.states[n-1].GetItem())
		r.Summaries = append(r.Summaries, summary)
	}
	return r, nil
}

// Largest is the size in bytes of the largest message that arrived.
func (c *Collector) Largest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.largest
}
