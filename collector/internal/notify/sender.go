package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// SenderOptions are what a sender works with.
type SenderOptions struct {
	// Config names the fallbacks; Channels are made of it by Open.
	Config   Config
	Channels map[string]notice.Channel
	// Reader is where the outbox is read at the start, Commit where it is changed.
	Reader     store.Reader
	Commit     Committer
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Limits are DefaultLimits unless given.
	Limits Limits
	// Jitter gives numbers in [0,1); rand.Float64 unless given.
	Jitter func() float64
}

// Sender sends what lies in the outbox. Its methods are safe for concurrent use.
type Sender struct {
	opt       SenderOptions
	fallbacks map[string]string
	log       *slog.Logger
	metrics   *metrics
	recorder  *recorder
	lanes     sync.WaitGroup

	mu      sync.Mutex
	outlets map[string]*outlet
	// known are the deliveries in memory, by id.
	known map[string]struct{}
	// early were woken before the outbox was read.
	early []Delivery
	// running is the context of the lanes, nil before they may start and after the end.
	running *running
}

// running are the contexts of one Run: wait ends when the sender is to stop, send
// some grace later.
type running struct {
	wait, send context.Context
}

// outlet is a channel with the deliveries that wait for it.
type outlet struct {
	name    string
	channel notice.Channel
	slots   chan struct{}
	// lanes keep the order of one incident or problem; guarded by Sender.mu.
	lanes map[lane][]Delivery
}

type lane struct{ customer, number string }

func laneOf(d Delivery) lane {
	about := d.Notice.About()
	return lane{about.Customer, about.Number}
}

const reloadEvery = time.Minute

// NewSender makes a sender, which sends while Run runs.
func NewSender(o SenderOptions) (*Sender, error) {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	m, err := newMetrics(o.Registerer, slices.Sorted(maps.Keys(o.Channels)))
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of deliveries: %w", err)
	}
	s := &Sender{
		opt: o, log: o.Logger, metrics: m, fallbacks: map[string]string{},
		recorder: newRecorder(o.Commit, o.Logger, m.records),
		outlets:  map[string]*outlet{}, known: map[string]struct{}{},
	}
	workers := map[string]int{}
	for _, c := range o.Config {
		s.fallbacks[c.Name], workers[c.Name] = c.Fallback, c.Workers
	}
	for name, c := range o.Channels {
		s.outlets[name] = &outlet{
			name: name, channel: c, slots: make(chan struct{}, cmp.Or(workers[name], o.Limits.Workers)), lanes: map[lane][]Delivery{},
		}
	}
	return s, nil
}

// Run reads the outbox and sends until the context ends. Then it starts nothing new,
// gives what is under way some grace, and records what became of it: the Committer
// must outlive it. What was not sent stays in the outbox. An outbox that cannot be
// read is logged and read again; meanwhile new deliveries go out.
func (s *Sender) Run(ctx context.Context) error {
	stored, err := s.load(ctx)
	if ctx.Err() != nil {
		return nil
	}
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	var recorded sync.WaitGroup
	recorded.Go(func() { s.recorder.run(recording, s.opt.Limits.Grace) })

	s.start(&running{wait: ctx, send: sending}, stored)
	s.reload(ctx, err)
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	grace := time.AfterFunc(s.opt.Limits.Grace, stopSending)
	defer grace.Stop()
	s.lanes.Wait()
	stopRecording()
	recorded.Wait()
	return nil
}

// reload reads the outbox until that succeeds, while what is known goes out.
func (s *Sender) reload(ctx context.Context, err error) {
	for err != nil {
		s.log.Error("reading the outbox; what it holds from before the start is not sent yet", "error", err)
		if !sleep(ctx, reloadEvery) {
			return
		}
		var stored []Delivery
		stored, err = s.load(ctx)
		s.Wake(stored)
	}
}

// load reads the outbox, in the order in which each incident or problem was told of. With an
// error it returns what it could read.
func (s *Sender) load(ctx context.Context) ([]Delivery, error) {
	var out []Delivery
	var failed error
	for row, err := range (store.Typed[Delivery]{Table: &notice.Outbox}).ScanAll(ctx, s.opt.Reader) {
		switch {
		case err != nil && row.Key == "":
			failed = err
		case err != nil:
			// One row that cannot be read does not stop the others.
			s.log.Error("reading a delivery", "customer", row.Customer, "id", row.Key, "error", err)
		default:
			out = append(out, row.Value)
		}
	}
	slices.SortStableFunc(out, func(a, b Delivery) int {
		return a.Notice.About().Revision - b.Notice.About().Revision
	})
	return out, failed
}

// start lets lanes run, with what was stored before what was woken meanwhile.
func (s *Sender) start(r *running, stored []Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = r
	early := s.early
	s.early = nil
	for _, d := range append(stored, early...) {
		s.push(d)
	}
}

// Wake hands over deliveries that were just committed. It does not block.
func (s *Sender) Wake(deliveries []Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range deliveries {
		if s.running == nil {
			s.early = append(s.early, d)
			continue
		}
		s.push(d)
	}
}

// push puts a delivery at the end of its lane, and starts the lane when it was empty.
func (s *Sender) push(d Delivery) {
	if _, known := s.known[d.ID]; known {
		return
	}
	s.known[d.ID] = struct{}{}
	out := s.outlets[d.Channel]
	if out == nil {
		s.lanes.Go(func() {
			s.bury(d, errors.New("there is no channel of this name any more"))
		})
		return
	}
	s.metrics.pending.WithLabelValues(d.Channel).Inc()
	key := laneOf(d)
	waiting, active := out.lanes[key]
	out.lanes[key] = append(waiting, d)
	if !active {
		run := s.running
		s.lanes.Go(func() { s.runLane(run, out, key) })
	}
}

// runLane sends the deliveries of a lane, one after the other, until there are none.
func (s *Sender) runLane(r *running, out *outlet, key lane) {
	for {
		s.mu.Lock()
		d := out.lanes[key][0]
		s.mu.Unlock()
		if !s.deliver(r, out, d) {
			return
		}
		s.metrics.pending.WithLabelValues(out.name).Dec()
		s.mu.Lock()
		rest := out.lanes[key][1:]
		if len(rest) == 0 {
			delete(out.lanes, key)
			s.mu.Unlock()
			return
		}
		out.lanes[key] = rest
		s.mu.Unlock()
	}
}

func (s *Sender) forget(d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, d.ID)
}
