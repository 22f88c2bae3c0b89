package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/spool"
	"github.com/wacht-io/wacht/agent/internal/uplink"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// Agent is one simulated agent. Its methods are safe for concurrent use.
type Agent struct {
	fleet *Fleet
	index int
	dir   string

	id     *enroll.Identity
	spool  *spool.Spool
	uplink *uplink.Uplink
	leave  context.CancelFunc
	left   chan struct{}

	host atomic.Pointer[string]

	mu       sync.Mutex
	epoch    uint64
	sequence uint64 // of the newest run
	acked    Ack    // the furthest of both lanes of the running epoch
	sent     []sent // not decided, oldest first
	source   *source
	window   int // runs kept unacknowledged by Flood; 0 when it is not on
}

// sent is a run on its way.
type sent struct {
	sequence uint64
	at       time.Time
	results  int
}

// Index is the agent's place in its fleet.
func (a *Agent) Index() int { return a.index }

// Dir is the agent's folder.
func (a *Agent) Dir() string { return a.dir }

// HostID is the host that the collector knows the agent as.
func (a *Agent) HostID() string { return *a.host.Load() }

// machine is what a simulated machine says of itself.
func (a *Agent) machine() *agentpb.Machine {
	name := a.fleet.opts.Hostname(a.index)
	return &agentpb.Machine{
		Hostname: name, Os: "linux", Arch: "amd64", Platform: "simulated", AgentVersion: "fleet",
		Fingerprint: enroll.Fingerprint([]string{"machine-id=" + name + a.dir}),
	}
}

func (a *Agent) declarations() map[string][]byte {
	if a.fleet.opts.Declarations == nil {
		return nil
	}
	return a.fleet.opts.Declarations(a.index)
}

// digests are what the agent's Hello says of its checks.
func (a *Agent) digests() []*agentpb.CheckDigest {
	var out []*agentpb.CheckDigest
	for check, text := range a.declarations() {
		sum := sha256.Sum256(text)
		out = append(out, &agentpb.CheckDigest{Check: check, Sha256: sum[:]})
	}
	return out
}

func (a *Agent) declaration(check string) ([]byte, error) {
	text, ok := a.declarations()[check]
	if !ok {
		return nil, fmt.Errorf("there is no check %q", check)
	}
	return text, nil
}

func (a *Agent) join(ctx context.Context) error {
	id, err := enroll.Load(a.dir)
	if errors.Is(err, enroll.ErrNotEnrolled) {
		id, err = a.enroll(ctx)
	}
	if err != nil {
		return err
	}
	a.rename(id)
	return nil
}

func (a *Agent) enroll(ctx context.Context) (*enroll.Identity, error) {
	text, err := a.fleet.opts.Token(ctx, a.index)
	if err != nil {
		return nil, fmt.Errorf("getting a token: %w", err)
	}
	token, err := agentpb.ParseToken(text)
	if err != nil {
		return nil, err
	}
	conn, err := uplink.Dial(a.fleet.opts.Address, credentials.NewTLS(enroll.JoinTLS(token, time.Now())), a.fleet.wire.connect)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	id, err := enroll.Join(ctx, conn, text, a.machine())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the agent's folder: %w", err)
	}
	if err := id.Save(a.dir); err != nil {
		return nil, err
	}
	return id, nil
}

// rename takes an identity in; the spool has begun an epoch for it, if there is one.
func (a *Agent) rename(id *enroll.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.id = id
	a.host.Store(&id.HostID)
	a.begin()
}

// begin counts from the start of the spool's running epoch.
func (a *Agent) begin() {
	if a.spool == nil {
		return
	}
	ranges := a.spool.Epochs()
	running := ranges[len(ranges)-1]
	a.epoch, a.sequence = running.GetEpoch(), running.GetNewest()
	a.acked, a.sent = Ack{}, nil
}

func (a *Agent) start(context.Context) error {
	if a.id == nil {
		return errors.New("it has not joined")
	}
	o := spool.Options{Owner: a.id.HostID, BootID: "simulated"}
	if a.fleet.opts.OnDisk {
		o.Dir = a.dir
	}
	var err error
	if a.spool, err = spool.Open(o); err != nil {
		return err
	}
	a.uplink, err = uplink.New(uplink.Options{
		Address: a.fleet.opts.Address, Dial: a.fleet.wire.connect, StateDir: a.dir,
		Identity: a.id, Spool: a.spool, Machine: a.machine(),
		Checks: a.digests(), Declaration: a.declaration, Renamed: a.rename, Acked: a.heard, Logger: a.fleet.opts.Logger.With("agent", a.index),
	})
	if err != nil {
		return errors.Join(err, a.spool.Close())
	}
	a.mu.Lock()
	a.begin()
	a.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	a.leave, a.left = cancel, make(chan struct{})
	go func() {
		defer close(a.left)
		a.uplink.Run(ctx)
	}()
	return nil
}

func (a *Agent) stop() error {
	if a.leave == nil {
		return nil
	}
	a.leave()
	<-a.left
	a.leave = nil
	return a.spool.Close()
}

// Append spools a run as a check's, and returns what identifies it.
func (a *Agent) Append(run *checkpb.Run) (RunID, error) { return a.AppendDue(run, time.Now()) }

// AppendDue is Append for a run that should have been appended at the given time:
// its latency counts from then, so that a generator that is late hides nothing.
func (a *Agent) AppendDue(run *checkpb.Run, due time.Time) (RunID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.append(run, due)
}

func (a *Agent) append(run *checkpb.Run, due time.Time) (RunID, error) {
	// Under the lock, so that acknowledgements find the run among those sent.
	if err := a.spool.Append(run); err != nil {
		return RunID{}, err
	}
	a.sequence++
	a.sent = append(a.sent, sent{a.sequence, due, len(run.GetResults())})
	id := RunID{a.epoch, a.sequence}
	if f := a.fleet.opts.Appended; f != nil {
		f(a, id, run)
	}
	return id, nil
}

// heard takes an acknowledgement in, and sends what Flood has to send next.
func (a *Agent) heard(c *agentpb.Cursor, resumed bool) {
	ack := Ack{
		Agent: a, Epoch: c.GetEpoch(), Lane: c.GetLane(), Decided: c.GetDecided(), Archived: c.GetArchived(),
		Resumed: resumed, At: time.Now(),
	}
	a.mu.Lock()
	if f := a.fleet.opts.Acked; f != nil {
		f(ack) // before anybody who waits for it goes on
	}
	if ack.Epoch == a.epoch {
		a.acked.Decided = max(a.acked.Decided, ack.Decided)
		a.acked.Archived = max(a.acked.Archived, ack.Archived)
		a.land(ack.At)
	}
	a.mu.Unlock()
	a.refill()
}

// land takes what is decided off the runs on their way, and measures it.
func (a *Agent) land(now time.Time) {
	n := 0
	meter := a.fleet.meter.Load()
	for ; n < len(a.sent) && a.sent[n].sequence <= a.acked.Decided; n++ {
		if meter != nil {
			meter.add(&a.sent[n], now)
		}
	}
	a.sent = append(a.sent[:0], a.sent[n:]...)
}

// Epoch is the epoch that the agent's runs are in.
func (a *Agent) Epoch() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch
}

// Pending is how many runs are not acknowledged as decided.
func (a *Agent) Pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sent)
}

// Spooled is how many runs the spool holds: those not acknowledged as archived.
func (a *Agent) Spooled() int {
	if a.spool == nil {
		return 0
	}
	return int(a.spool.Stats().Runs)
}

// Connected says whether the agent has a stream.
func (a *Agent) Connected() bool { return a.uplink != nil && a.uplink.Status().Connected }

// Trouble is why the agent is not connected, or was not lately.
func (a *Agent) Trouble() string { return a.uplink.Status().Error }

// Reconnect ends the agent's stream, or its wait for the next attempt.
func (a *Agent) Reconnect() { a.uplink.Restart() }
