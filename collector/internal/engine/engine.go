// Package engine is the collector's only imperative core. It holds what is known
// of every host, hands each new result to the rules and each transition to the
// desk, and commits what follows before anybody hears of it: agents get their
// acknowledgement, people their answer and channels their notice only once it is
// on disk.
//
// One goroutine applies what comes in, in order of arrival; a second commits. While
// one group is being committed the next gathers, so a commit is as large as the
// load makes it and an idle collector never waits for company. A third goroutine
// archives the metrics of what was committed.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/sla"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Policy says what is checked on a host, and what of it is a breach.
type Policy interface {
	Book() *rules.Book
	// Effective is a host's configuration, with that of the checks of its agent that are
	// not built in; its revision changes only when it does.
	Effective(h inventory.Host, foreign []string) *agentpb.Policy
	// Foreign is what judges a check that agents of a customer declared. Unfit tells what
	// of the policy does not fit it and is left out.
	Foreign(customer string, d rules.Declaration) (book *rules.Book, unfit []string, err error)
}

// Options are what an engine works with.
type Options struct {
	Store   store.Store
	History *history.Store
	Policy  Policy
	// Declarations describes the built-in checks; others are declared by agents.
	Declarations []*checks.Spec
	Level        *sla.Level
	Router       *notify.Router
	// PublicURL is how people reach the pages; notices link to it, when it is set.
	PublicURL string
	// Wake tells the sender of deliveries that were just committed. It does not block.
	Wake       func([]notify.Delivery)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// ServerSilence is how long a server may be unheard of, AnnouncedSilence how long
	// after it said that it shuts down or reboots.
	ServerSilence    time.Duration
	AnnouncedSilence time.Duration
	// NoSweep leaves out what happens by time alone: for a command that opens the
	// store for a moment, and must not find hosts silent or deadlines missed.
	NoSweep bool
}

// The defaults of Options.
const (
	DefaultServerSilence    = 5 * time.Minute
	DefaultAnnouncedSilence = 30 * time.Minute
)

// Engine is the running core. Start it with Start; its other methods are safe for
// concurrent use.
type Engine struct {
	opt     Options
	log     *slog.Logger
	metrics *metrics
	specs   map[string]*checks.Spec
	inbox   *inbox
	commits chan *group
	archive *archiver
	started time.Time

	mu      sync.Mutex // guards all below
	hosts   map[string]*host
	desks   map[string]*deskOf
	foreign map[string]map[foreignKey]*foreign // by customer
	policy  Policy
	numbers counters
	failing error // of the newest commit, or nil
	scratch []rules.Transition
	// reconciled is when tickets were last held against states.
	reconciled time.Time
	// leftovers delete rows that were found to be of no use when they were loaded.
	leftovers []store.Write

	stop context.CancelFunc
	done sync.WaitGroup
}

// New reads what the store holds and makes an engine of it. It does not start yet.
func New(ctx context.Context, opt Options) (*Engine, error) {
	if opt.ServerSilence == 0 {
		opt.ServerSilence = DefaultServerSilence
	}
	if opt.AnnouncedSilence == 0 {
		opt.AnnouncedSilence = DefaultAnnouncedSilence
	}
	e := &Engine{
		opt:        opt,
		log:        opt.Logger,
		specs:      make(map[string]*checks.Spec),
		inbox:      newInbox(),
		commits:    make(chan *group),
		hosts:      make(map[string]*host),
		desks:      make(map[string]*deskOf),
		foreign:    make(map[string]map[foreignKey]*foreign),
		policy:     opt.Policy,
		started:    time.Now(),
		reconciled: time.Now(),
	}
	for _, s := range opt.Declarations {
		e.specs[s.Name] = s
	}
	e.metrics = newMetrics(opt.Registerer, e)
	e.archive = newArchiver(e)
	if err := e.load(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Start begins to work. Stop ends it.
func (e *Engine) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	e.done.Go(func() { e.applyLoop(ctx) })
	e.done.Go(e.commitLoop)
	e.done.Go(e.archive.loop)
	if !e.opt.NoSweep {
		e.done.Go(func() { e.forecastLoop(ctx) })
	}
}

// Stop finishes what has been taken in, commits and archives it, and returns.
func (e *Engine) Stop() {
	if e.stop == nil {
		return
	}
	e.inbox.close()
	e.stop()
	e.done.Wait()
}

// ErrStopped answers what came too late.
var ErrStopped = errors.New("the collector is stopping")

// group is what one commit carries and what waits for it.
type group struct {
	now        time.Time
	writes     []store.Write
	customers  map[string]struct{}
	marked     map[*host]struct{}
	deliveries []notify.Delivery
	acks       []pendingAck
	samples    []sample
	waiting    []func(error)
	results    int
}

// pendingAck is a lane's cursor, to be advanced once its group is durable.
type pendingAck struct {
	session *Session
	key     cursorKey
	decided uint64
	// archived is the last run of the batch. What is sent again for history's sake comes
	// in several batches, and all of it was decided before.
	archived uint64
}

func (e *Engine) newGroup(now time.Time) *group {
	return &group{now: now, customers: make(map[string]struct{}), marked: make(map[*host]struct{}), samples: e.archive.buffer()}
}

func (g *group) empty() bool {
	return len(g.writes) == 0 && len(g.marked) == 0 && len(g.acks) == 0 && len(g.waiting) == 0
}

// put adds a row to the commit.
func put[T any](g *group, t store.Typed[T], customer, key string, v T) error {
	w, err := t.Put(customer, key, v)
	if err != nil {
		return fmt.Errorf("encoding a row of %s: %w", t.Table.Name, err)
	}
	g.writes = append(g.writes, w)
	return nil
}

// sweepEvery is how often timers are looked at: conditions that must hold for a
// time, results that are overdue, hosts that are silent, deadlines.
const sweepEvery = time.Second

func (e *Engine) applyLoop(ctx context.Context) {
	defer close(e.commits)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		var sweep bool
		select {
		case <-e.inbox.ready:
		case <-ticker.C:
			sweep = !e.opt.NoSweep
		case <-ctx.Done():
			e.drain()
			return
		}
		e.applyGroup(sweep)
	}
}

// drain applies what was taken in before the inbox closed.
func (e *Engine) drain() {
	for e.inbox.len() > 0 {
		e.applyGroup(false)
	}
}

func (e *Engine) applyGroup(sweep bool) {
	items := e.inbox.take()
	now := time.Now()
	g := e.newGroup(now)
	e.mu.Lock()
	for i := range items {
		items[i].apply(e, g)
	}
	if sweep {
		e.sweep(g)
	}
	e.sealMarks(g)
	e.mu.Unlock()
	if !g.empty() {
		e.commits <- g
	}
}

// sealMarks adds the watermark of every host that the group has a part of.
func (e *Engine) sealMarks(g *group) {
	for h := range g.marked {
		g.writes = append(g.writes, store.Write{
			Table: &watermarks,
			Row:   store.Row{Customer: h.Customer, Key: h.ID, Value: h.mark.append(nil)},
		})
		g.customers[h.Customer] = struct{}{}
	}
}

// do runs f alone, as one step of the engine, and returns once what it changed is
// durable. An error of f changes nothing and is returned as it is.
func (e *Engine) do(ctx context.Context, f func(g *group) error) error {
	done := make(chan error, 1)
	it := item{ctx: ctx, do: f, done: func(err error) { done <- err }}
	if err := e.inbox.put(ctx, it); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the commit: %w", ctx.Err())
	}
}

// Ready says why the engine can't do its work, or nil.
func (e *Engine) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failing != nil {
		return fmt.Errorf("the store does not take commits: %w", e.failing)
	}
	return e.archive.failing()
}

// deskOf is a customer's desk with the claim that lets it write.
type deskOf struct {
	*desk.Desk
	term store.Term
	// transitions is the number of the newest row of the customer's record.
	transitions uint64
}

// hostRecord returns a host's record by id.
func (e *Engine) hostRecord(id string) (inventory.Host, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h, ok := e.hosts[id]
	if !ok {
		return inventory.Host{}, false
	}
	return h.Host, true
}
