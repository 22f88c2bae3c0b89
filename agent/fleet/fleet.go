// Package fleet runs thousands of simulated agents in one process, for benchmarks
// and for tests that kill the collector under load.
//
// Each agent is the real thing from the spool on: an identity of its own that it got
// by joining, the spool and the uplink of wacht-agent, and TLS over the given dialer.
// Only the checks are not there: their runs come from a Load, or from the caller.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// Options configure a fleet.
type Options struct {
	// Agents is how many there are.
	Agents int
	// Address is the collector's, host:port.
	Address string
	// Dir holds a folder for each agent. Identities that are there already are used
	// again, so that a second fleet over the same folder need not join.
	Dir string
	// OnDisk keeps the spools in those folders too, as real agents do; otherwise runs
	// are spooled in memory alone, which spares the machine that measures a collector
	// the disk of thousands of machines.
	OnDisk bool
	// Token gives the joining token for agents without an identity. It is asked for
	// once for each of them.
	Token func(ctx context.Context, agent int) (string, error)
	// Hostname names an agent's machine; nil gives sim-0000 and so on.
	Hostname func(agent int) string
	// Declarations are the check.yaml of checks that the agents have beyond the built-in
	// ones, as with a plugin; nil means none.
	Declarations func(agent int) map[string][]byte
	// Dial opens connections; nil dials TCP. Bytes are counted in either case.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Appended is called for each run that was spooled, before anything can be
	// acknowledged of it. It must not keep the run, which may be changed for the next
	// one.
	Appended func(a *Agent, id RunID, run *checkpb.Run)
	// Acked is called for each acknowledgement that an agent receives, and for each
	// cursor of a Welcome. Like Appended it must not block, and of the agent it may ask
	// for Index, HostID and Dir alone.
	Acked func(Ack)
	// Logger gets what the uplinks log; nil means nothing.
	Logger *slog.Logger
}

// RunID identifies a run of one agent.
type RunID struct{ Epoch, Sequence uint64 }

// Ack is how far the collector has come with one lane of an agent's epoch. Runs of
// the lane up to Decided are committed with all that follows from them; those up to
// Archived are in history too.
type Ack struct {
	Agent             *Agent
	Epoch             uint64
	Lane              agentpb.Lane
	Decided, Archived uint64
	// Resumed says that a Welcome told it: some of it may have been acknowledged
	// before, on a connection that broke.
	Resumed bool
	At      time.Time
}

// Fleet is a number of agents. Make it with New, then Join, Start and Stop it.
type Fleet struct {
	opts   Options
	agents []*Agent
	wire   wire
	meter  meterSlot
}

// New makes a fleet whose agents have not joined yet.
func New(opts Options) (*Fleet, error) {
	if opts.Agents <= 0 || opts.Dir == "" || opts.Address == "" {
		return nil, errors.New("a fleet needs a number of agents, a folder and an address")
	}
	if opts.Hostname == nil {
		opts.Hostname = func(i int) string { return fmt.Sprintf("sim-%04d", i) }
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{opts: opts}
	f.wire.dial = opts.Dial
	for i := range opts.Agents {
		f.agents = append(f.agents, &Agent{
			fleet: f, index: i, dir: filepath.Join(opts.Dir, fmt.Sprintf("agent-%05d", i)),
		})
	}
	return f, nil
}

// Agents returns the agents in order of their index.
func (f *Fleet) Agents() []*Agent { return f.agents }

// Bytes is what went over all connections, handshakes included.
func (f *Fleet) Bytes() (sent, received int64) { return f.wire.sent.Load(), f.wire.received.Load() }

// joiners is how many agents join at once: enough to keep two cores busy.
const joiners = 8

// Join gives every agent an identity: the one in its folder, or one that it joins for.
func (f *Fleet) Join(ctx context.Context) error {
	return f.each(ctx, joiners, (*Agent).join)
}

// Start begins all agents. They connect by themselves and stay connected.
func (f *Fleet) Start(ctx context.Context) error {
	return f.each(ctx, joiners, (*Agent).start)
}

// Stop has every agent say goodbye and close its spool.
func (f *Fleet) Stop() error {
	return f.each(context.Background(), len(f.agents), func(a *Agent, _ context.Context) error { return a.stop() })
}

// each does something for all agents, some at a time, and joins their errors.
func (f *Fleet) each(ctx context.Context, atOnce int, do func(*Agent, context.Context) error) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	next := make(chan *Agent)
	for range min(atOnce, len(f.agents)) {
		wg.Go(func() {
			for a := range next {
				if err := do(a, ctx); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("agent %d: %w", a.index, err))
					mu.Unlock()
				}
			}
		})
	}
	for _, a := range f.agents {
		next <- a
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// Connected is how many agents have a stream.
func (f *Fleet) Connected() int {
	n := 0
	for _, a := range f.agents {
		if a.Connected() {
			n++
		}
	}
	return n
}

// settleEvery is how often a Wait looks again.
const settleEvery = 5 * time.Millisecond

// WaitConnected returns once every agent has a stream.
func (f *Fleet) WaitConnected(ctx context.Context) error {
	return f.wait(ctx, "connected", func(a *Agent) bool { return a.Connected() })
}

// WaitDecided returns once every run that was appended is acknowledged as decided.
func (f *Fleet) WaitDecided(ctx context.Context) error {
	return f.wait(ctx, "decided", func(a *Agent) bool { return a.Pending() == 0 })
}

// WaitArchived returns once every run that was appended is acknowledged as archived:
// the spools are empty.
func (f *Fleet) WaitArchived(ctx context.Context) error {
	return f.wait(ctx, "archived", func(a *Agent) bool { return a.Pending() == 0 && a.Spooled() == 0 })
}

func (f *Fleet) wait(ctx context.Context, what string, done func(*Agent) bool) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for i := 0; i < len(f.agents); {
		if done(f.agents[i]) {
			i++
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until all is %s, at agent %d of %d: %w", what, i, len(f.agents), ctx.Err())
		}
	}
	return nil
}
