package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/spool"
)

const (
	liveRuns    = 256      // in one LIVE message
	backlogRuns = 100      // in one BACKLOG message
	batchBytes  = 64 << 10 // of spooled runs in one LIVE message
	// smallest and widest bound what is sent in the BACKLOG lane and not yet
	// archived. Within them it follows how fast the acknowledgements come, so that on
	// a slow link live runs do not queue behind the backlog.
	smallest, widest = 8 << 10, 1 << 20
	quick, slow      = 1500 * time.Millisecond, 3 * time.Second
	// defaultMessage bounds a message where the collector names no bound; 4 MiB is
	// what gRPC servers accept by default.
	defaultMessage = 1 << 20
	renewRetry     = time.Hour
)

// stream is one stream from the Hello to its end. Its sender is the goroutine that
// made it, its receiver another.
type stream struct {
	u     *Uplink
	conn  *grpc.ClientConn
	rpc   agentpb.Collector_StreamClient
	enc   *encoder
	limit int
	rate  *rate.Limiter
	// declared are the checks that the collector asked for; the receiver's own.
	declared map[string]bool

	mu      sync.Mutex
	control []*agentpb.AgentMessage // to be sent before runs
	flights []flight
	flying  int // bytes
	window  int
	wake    chan struct{}
}

// flight is a BACKLOG message that is not archived yet.
type flight struct {
	epoch, last uint64
	bytes       int
	at          time.Time
}

// stream runs one stream. The stream's own context outlives ctx by the time that
// a farewell takes.
func (u *Uplink) stream(ctx context.Context, conn *grpc.ClientConn) error {
	rpcCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })
	defer stop()
	rpc, err := agentpb.NewCollectorClient(conn).Stream(rpcCtx)
	if err != nil {
		return fmt.Errorf("opening the stream: %w", err)
	}
	s := &stream{
		u: u, conn: conn, rpc: rpc, enc: newEncoder(), window: 4 * smallest, wake: make(chan struct{}, 1),
		declared: make(map[string]bool), rate: rate.NewLimiter(rate.Limit(u.opts.BacklogRate), backlogRuns),
	}
	if err := s.greet(); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- s.receive(rpcCtx) }()
	err = s.send(ctx, received)
	if ctx.Err() != nil {
		s.farewell(received)
	}
	cancel()
	return err
}

// greet sends the Hello and takes the Welcome in: the visit's number is on disk
// before anything else is sent, unless the disk takes nothing.
func (s *stream) greet() error {
	u := s.u
	hello := &agentpb.Hello{
		Protocol: agentpb.ProtocolVersion, Machine: u.opts.Machine, Epochs: u.opts.Spool.Epochs(),
		Visit: u.lastVisit(), Checks: u.opts.Checks, NowMs: u.opts.Now().UnixMilli(),
	}
	if u.opts.Revision != nil {
		hello.PolicyRevision = u.opts.Revision()
	}
	// An error of Send is told by Recv, with its reason.
	_ = s.rpc.Send(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_Hello{Hello: hello}})
	sentAt := time.Now()
	msg, err := s.rpc.Recv()
	if err != nil {
		return fmt.Errorf("greeting the collector: %w", err)
	}
	if refused := msg.GetRefused(); refused != nil {
		return refusal(refused)
	}
	welcome := msg.GetWelcome()
	if welcome == nil {
		return errors.New("the collector did not begin with a Welcome")
	}
	if s.limit = int(welcome.GetMaxMessageBytes()); s.limit == 0 {
		s.limit = defaultMessage
	}
	if s.limit < 4<<10 {
		return fmt.Errorf("the collector takes messages of %d bytes only", s.limit)
	}
	u.welcomed(welcome, sentAt)
	u.opts.Spool.Resume(welcome.GetCursors())
	if u.opts.Acked != nil {
		for _, c := range welcome.GetCursors() {
			u.opts.Acked(c, true)
		}
	}
	return nil
}

func (u *Uplink) lastVisit() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.visits.Visit
}

func (u *Uplink) welcomed(w *agentpb.Welcome, sentAt time.Time) {
	theirs := time.UnixMilli(w.GetNowMs())
	u.clock.hear(theirs)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.visits.Visit, u.visits.CollectorAt = w.GetVisit(), u.clock.now()
	if err := u.visits.save(u.opts.StateDir); err != nil {
		// This process knows it; only the next one would be taken for a restored one.
		u.opts.Logger.Warn("the visit's number is not stored: after a restart the collector may note that this folder was rolled back", "error", err)
	}
	now := time.Now()
	u.status = Status{
		Connected: true, Since: now, LastAck: u.status.LastAck, Customer: w.GetCustomer(), Site: w.GetSite(),
		Skew: now.Sub(theirs) - now.Sub(sentAt)/2, SkewKnown: true,
	}
	u.opts.Logger.Info("connected to the collector", "collector", u.opts.Address, "host", w.GetHostId(), "customer", w.GetCustomer(), "site", w.GetSite())
}

func refusal(r *agentpb.Refused) error {
	known := map[agentpb.Refused_Code]error{
		agentpb.Refused_EPOCH_REUSED: errReused, agentpb.Refused_REVOKED: errRevoked, agentpb.Refused_PROTOCOL_UNKNOWN: errProtocol,
		agentpb.Refused_PENDING: errPending,
	}
	if err := known[r.GetCode()]; err != nil {
		return fmt.Errorf("%w (%s)", err, r.GetReason())
	}
	return fmt.Errorf("the collector refuses the stream: %s", r.GetReason())
}

// send sends until ctx or the stream ends.
func (s *stream) send(ctx context.Context, received <-chan error) error {
	renew := time.NewTimer(s.untilRenewal())
	defer renew.Stop()
	throttle := time.NewTimer(0)
	defer throttle.Stop()
	for {
		if s.enc.full() {
			return fmt.Errorf("%w: it has named %d items", errAgain, maxDefinitions)
		}
		sent, next, err := s.step()
		switch {
		case err != nil:
			return ended(err, received)
		case ctx.Err() != nil:
			return ctx.Err()
		case sent:
			select { // look at the end of the stream also when there is always something to send
			case err := <-received:
				return err
			default:
				continue
			}
		}
		throttle.Reset(next)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			return err
		case <-s.u.again:
			return errAgain
		case answer := <-s.u.policy:
			s.queue(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_PolicyAnswer{PolicyAnswer: answer}})
		case <-renew.C:
			s.renew(ctx, renew)
		case <-s.u.opts.Spool.Wake():
		case <-s.wake:
		case <-throttle.C:
		}
	}
}

// ended prefers the receiver's error, which has the reason, to that of a Send.
func ended(err error, received <-chan error) error {
	select {
	case reason := <-received:
		return reason
	case <-time.After(time.Second):
		return err
	}
}

func (s *stream) untilRenewal() time.Duration {
	return max(0, s.u.identity().RenewAt().Sub(s.u.clock.now()))
}

func (s *stream) renew(ctx context.Context, timer *time.Timer) {
	err := s.u.renew(ctx, s.conn)
	if err != nil {
		s.u.opts.Logger.Warn("the certificate could not be renewed", "until", s.u.identity().Expires(), "error", err)
	}
	timer.Reset(max(renewRetry, s.untilRenewal()))
}

// idle is how long the sender sleeps when nothing is throttled.
const idle = time.Hour

// step sends one thing: answers first, then gaps, live runs, and backlog. It says
// when to look again if there was nothing that may be sent now.
func (s *stream) step() (sent bool, next time.Duration, err error) {
	if msgs := s.takeControl(); len(msgs) > 0 {
		return true, 0, s.sendAll(msgs)
	}
	if gaps := s.u.opts.Spool.Gaps(); len(gaps) > 0 {
		for _, g := range gaps {
			if err := s.rpc.Send(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_Gap{Gap: g}}); err != nil {
				return false, 0, fmt.Errorf("sending a gap: %w", err)
			}
		}
		return true, 0, nil
	}
	if b := s.u.opts.Spool.Live(liveRuns, batchBytes); len(b.Entries) > 0 {
		_, err := s.sendRuns(agentpb.Lane_LIVE, b)
		return true, 0, err
	}
	return s.stepBacklog()
}

func (s *stream) stepBacklog() (sent bool, next time.Duration, err error) {
	room := s.room()
	if room <= 0 {
		return false, idle, nil // an acknowledgement wakes it
	}
	runs := int(min(s.rate.Tokens(), backlogRuns))
	if runs < 1 {
		return false, time.Duration(float64(backlogRuns) / 4 / s.u.opts.BacklogRate * float64(time.Second)), nil
	}
	b := s.u.opts.Spool.Backlog(runs, min(room, smallest))
	if len(b.Entries) == 0 {
		return false, idle, nil
	}
	s.rate.AllowN(time.Now(), len(b.Entries))
	bytes, err := s.sendRuns(agentpb.Lane_BACKLOG, b)
	if err != nil || bytes == 0 {
		return true, 0, err
	}
	return true, 0, nil
}

func (s *stream) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window - s.flying
}

func (s *stream) takeControl() []*agentpb.AgentMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	msgs := s.control
	s.control = nil
	return msgs
}

func (s *stream) sendAll(msgs []*agentpb.AgentMessage) error {
	for _, m := range msgs {
		if err := s.rpc.Send(m); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

// sendRuns sends runs of one epoch and returns how many bytes went.
func (s *stream) sendRuns(lane agentpb.Lane, b spool.Batch) (bytes int, err error) {
	msgs := s.enc.batches(lane, b.Epoch, b.Entries, s.limit, func(run entry, err error) {
		s.u.opts.Logger.Error("a run can't be sent", "check", run.Run.GetCheck(), "error", err)
		s.u.opts.Spool.Refuse(b.Epoch, run.Sequence)
	})
	for _, m := range msgs {
		n := proto.Size(m)
		if runs := m.GetBatch().GetRuns(); len(runs) > 0 && lane == agentpb.Lane_BACKLOG {
			s.takeOff(flight{b.Epoch, runs[len(runs)-1].GetSequence(), n, time.Now()})
		}
		if err := s.rpc.Send(m); err != nil {
			return bytes, fmt.Errorf("sending runs: %w", err)
		}
		bytes += n
	}
	return bytes, nil
}

func (s *stream) takeOff(f flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights = append(s.flights, f)
	s.flying += f.bytes
}

// farewell sends what is live still, says goodbye, and waits for the last
// acknowledgements while the stream's context allows.
func (s *stream) farewell(received <-chan error) {
	for {
		b := s.u.opts.Spool.Live(liveRuns, batchBytes)
		if len(b.Entries) == 0 {
			break
		}
		if _, err := s.sendRuns(agentpb.Lane_LIVE, b); err != nil {
			return
		}
	}
	s.u.mu.Lock()
	reason := s.u.leave
	s.u.mu.Unlock()
	if s.rpc.Send(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_Goodbye{Goodbye: &agentpb.Goodbye{Reason: reason}}}) != nil {
		return
	}
	_ = s.rpc.CloseSend()
	end := <-received // the stream's context ends in time
	s.u.opts.Logger.Info("left the collector", "end", end)
}
