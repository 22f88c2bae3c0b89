// Package uplink carries spooled runs to the collector over one gRPC stream, and
// brings back acknowledgements and policy.
//
// Runs go in two lanes. After the Welcome the newest run of every task goes first,
// in the LIVE lane, then new runs as they come; what else was spooled follows in the
// BACKLOG lane, throttled, and yields to live runs before each message.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/spool"
)

type entry = spool.Entry

// DefaultBacklogRate is how many backlogged runs are sent in a second.
const DefaultBacklogRate = 500

const (
	revokedWait  = time.Hour        // between attempts of a host that was revoked
	pendingWait  = 2 * time.Minute  // about, of one that waits for approval: a roll-out has thousands
	protocolWait = 10 * time.Minute // between attempts of one that is too old or new
	callTimeout  = 30 * time.Second // of Join and Renew
	farewell     = 3 * time.Second  // to send the last runs and a Goodbye
	settled      = 10 * time.Second // a stream that lived for this long was a good one
)

// Options configure an uplink.
type Options struct {
	// Address is the collector's, host:port.
	Address string
	// Dial opens connections; nil leaves it to gRPC, which honours HTTPS_PROXY.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// StateDir keeps identity and visit; with "" both last as long as the process.
	StateDir string
	Identity *enroll.Identity
	Spool    *spool.Spool
	Machine  *agentpb.Machine
	// Checks are the digests of the checks that there are, and Declaration gives
	// one's check.yaml.
	Checks      []*agentpb.CheckDigest
	Declaration func(check string) ([]byte, error)
	// Policy applies a policy and says how its tasks fared. It runs beside the stream.
	Policy func(context.Context, *agentpb.Policy) *agentpb.PolicyAnswer
	// Revision is that of the policy in force, 0 for none.
	Revision func() uint64
	// Renamed is called when the machine got an identity of its own.
	Renamed func(*enroll.Identity)
	// Acked is called for each acknowledgement, and for each cursor of a Welcome, when
	// the spool has taken it in; nil is not called. It must not block.
	Acked func(c *agentpb.Cursor, resumed bool)
	// Now is the clock that runs are planned by; nil is the system's.
	Now func() time.Time
	// BacklogRate is in runs a second; 0 is DefaultBacklogRate.
	BacklogRate float64
	Logger      *slog.Logger
}

// Status is what an uplink tells of itself.
type Status struct {
	Connected   bool
	Since       time.Time // of the connection, or of the last try
	LastAck     time.Time
	Error       string // why it is not connected
	Customer    string
	Site        string
	HostID      string
	Visit       uint64
	Skew        time.Duration // this machine's clock less the collector's
	SkewKnown   bool
	Certificate time.Time     // its end
	Left        time.Duration // until then, by the collector's clock
}

// Uplink is one host's connection. Its methods are safe for concurrent use.
type Uplink struct {
	opts   Options
	clock  *clock
	again  chan struct{}
	policy chan *agentpb.PolicyAnswer

	mu     sync.Mutex
	id     *enroll.Identity
	visits visits
	status Status
	leave  agentpb.Goodbye_Reason
}

// New returns an uplink that is not connected yet.
func New(opts Options) (*Uplink, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.BacklogRate == 0 {
		opts.BacklogRate = DefaultBacklogRate
	}
	v, err := loadVisits(opts.StateDir, opts.Identity.HostID)
	if err != nil {
		// A lost visit makes the collector take the folder for a rolled-back one, and
		// give it an identity of its own: better than an agent that does not start.
		opts.Logger.Error("the number of the last visit is lost", "error", err)
	}
	return &Uplink{
		opts: opts, id: opts.Identity, visits: v, clock: newClock(v.CollectorAt),
		again: make(chan struct{}, 1), policy: make(chan *agentpb.PolicyAnswer, 1),
		leave: agentpb.Goodbye_STOP,
	}, nil
}

// Leave sets the reason that the Goodbye gives when Run's context ends.
func (u *Uplink) Leave(reason agentpb.Goodbye_Reason) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leave = reason
}

// Restart ends the stream and begins another.
func (u *Uplink) Restart() {
	select {
	case u.again <- struct{}{}:
	default:
	}
}

// Answer sends a policy answer, when a policy was applied anew by the agent itself.
func (u *Uplink) Answer(a *agentpb.PolicyAnswer) {
	select {
	case <-u.policy: // the newest counts
	default:
	}
	select {
	case u.policy <- a:
	default:
	}
}

// Status tells how the uplink fares.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := u.status
	st.HostID, st.Visit = u.id.HostID, u.visits.Visit
	st.Certificate, st.Left = u.id.Expires(), u.id.Expires().Sub(u.clock.guess())
	return st
}

// What the collector's Refused means for the next attempt.
var (
	errReused   = errors.New("this state folder is a copy or was rolled back")
	errRevoked  = errors.New("the collector has revoked this host: join again with a new token, or remove the agent")
	errPending  = errors.New("the collector has not approved this host yet: results are kept until it does")
	errProtocol = errors.New("the collector does not speak this agent's protocol: update the older of the two")
	errAgain    = errors.New("the stream is begun anew")
)

// Run keeps the host connected until ctx ends, and then says goodbye.
func (u *Uplink) Run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	// Full jitter: anything from nothing to twice the interval, which doubles from
	// half a second to half a minute.
	wait.RandomizationFactor, wait.Multiplier, wait.MaxInterval = 1, 2, 30*time.Second
	for ctx.Err() == nil {
		began := time.Now()
		err := u.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if u.disconnected(err) && time.Since(began) >= settled {
			wait.Reset()
		}
		if errors.Is(err, errReused) {
			if err = u.rejoin(ctx); err == nil {
				continue
			}
		}
		u.failed(err)
		u.sleep(ctx, u.pause(err, wait))
	}
}

func (u *Uplink) pause(err error, wait *backoff.ExponentialBackOff) time.Duration {
	switch {
	case errors.Is(err, errRevoked):
		return revokedWait
	case errors.Is(err, errProtocol):
		return protocolWait
	case errors.Is(err, errPending):
		return pendingWait/2 + rand.N(pendingWait)
	case errors.Is(err, errAgain):
		return 0
	}
	return wait.NextBackOff()
}

func (u *Uplink) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-u.again:
	}
}

// disconnected notes the end of a stream, and says whether there was one.
func (u *Uplink) disconnected(err error) bool {
	u.mu.Lock()
	was := u.status.Connected
	u.status.Connected = false
	u.status.Since = time.Now()
	u.mu.Unlock()
	if was {
		u.opts.Spool.Disconnected()
		u.opts.Logger.Info("disconnected from the collector", "reason", err)
	}
	return was
}

// failed logs an error once, however often it comes back.
func (u *Uplink) failed(err error) {
	if err == nil || errors.Is(err, errAgain) {
		return
	}
	u.mu.Lock()
	known := u.status.Error == err.Error()
	u.status.Error = err.Error()
	u.mu.Unlock()
	if !known {
		u.opts.Logger.Warn("no connection to the collector: results are spooled", "collector", u.opts.Address, "error", err)
	}
}

func (u *Uplink) identity() *enroll.Identity {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.id
}

// connect carries one stream from dialing to its end.
func (u *Uplink) connect(ctx context.Context) error {
	id := u.identity()
	if !u.clock.guess().Before(id.Expires()) {
		if err := u.renewExpired(ctx); err != nil {
			return err
		}
		id = u.identity()
	}
	conn, err := u.dial(id, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = u.stream(ctx, conn)
	if err != nil && strings.Contains(err.Error(), "expired certificate") { // TLS alert 45, RFC 8446 §6.2
		return errors.Join(err, u.renewExpired(ctx))
	}
	return err
}

// Dial makes a connection for the given TLS configuration; it connects at first use.
func Dial(addr string, creds credentials.TransportCredentials, dial func(context.Context, string) (net.Conn, error)) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		// The least that keeps an idle stream alive and small: both buffers are 32 KiB
		// otherwise, and the fixed windows spare the estimator of the bandwidth.
		grpc.WithReadBufferSize(4 << 10),
		grpc.WithWriteBufferSize(4 << 10),
		grpc.WithInitialWindowSize(64 << 10),
		grpc.WithInitialConnWindowSize(64 << 10),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	}
	target := "dns:///" + addr
	if dial != nil {
		target = "passthrough:///" + addr
		opts = append(opts, grpc.WithContextDialer(dial), grpc.WithNoProxy())
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	return conn, nil
}

func (u *Uplink) dial(id *enroll.Identity, anonymous bool) (*grpc.ClientConn, error) {
	return Dial(u.opts.Address, credentials.NewTLS(id.TLS(anonymous, u.clock.now)), u.opts.Dial)
}

// renewExpired gets a certificate for a host that was away until its own had ended.
func (u *Uplink) renewExpired(ctx context.Context) error {
	conn, err := u.dial(u.identity(), true)
	if err != nil {
		return err
	}
	defer conn.Close()
	return u.renew(ctx, conn)
}

func (u *Uplink) renew(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fresh, err := enroll.Renew(ctx, conn, u.identity())
	if err != nil {
		return err
	}
	if u.opts.StateDir != "" {
		if err := fresh.Save(u.opts.StateDir); err != nil {
			return err
		}
	}
	u.clock.hear(fresh.Leaf().NotBefore)
	u.mu.Lock()
	u.id = fresh
	u.mu.Unlock()
	u.opts.Logger.Info("the certificate was renewed", "until", fresh.Expires())
	return nil
}

// rejoin gives the machine an identity of its own, with the current one as proof.
// The identity is stored first: spool and visit are found to be another host's when
// the process ends in between.
func (u *Uplink) rejoin(ctx context.Context) error {
	u.opts.Logger.Warn("this machine runs with another's state: it joins as a host of its own")
	conn, err := u.dial(u.identity(), false)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fresh, err := enroll.JoinAnew(ctx, conn, u.opts.Machine)
	if err != nil {
		return err
	}
	if u.opts.StateDir != "" {
		if err := fresh.Save(u.opts.StateDir); err != nil {
			return err
		}
	}
	if err := u.opts.Spool.Reset(fresh.HostID); err != nil {
		return fmt.Errorf("emptying the other host's spool: %w", err)
	}
	u.mu.Lock()
	u.id, u.visits = fresh, visits{HostID: fresh.HostID, CollectorAt: u.visits.CollectorAt}
	u.mu.Unlock()
	if u.opts.Renamed != nil {
		u.opts.Renamed(fresh)
	}
	u.opts.Logger.Info("joined as a host of its own", "host", fresh.HostID)
	return nil
}
