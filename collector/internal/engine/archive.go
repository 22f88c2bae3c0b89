package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/wacht-io/wacht/collector/internal/history"
)

// archiveEvery is how long samples gather before they are written. What is written in
// small portions leaves the processors to decisions in between; in one portion a
// second's samples would have one of them to themselves for longer than a notice takes.
const archiveEvery = 25 * time.Millisecond

// syncEvery is how long what is written waits for its sync: one costs the same for one
// sample as for ten thousand, and agents are promised the archive's acknowledgement
// within a second.
const syncEvery = 300 * time.Millisecond

// maxArchive bounds the samples' results that wait for the archiver. When the
// history is slower than the streams, what goes over it is dropped here and its
// agents send it again from their spools.
const maxArchive = 1_000_000

// sample is one result's values on their way to history.
type sample struct {
	set    *seriesSet
	at     int64 // milliseconds of the Unix epoch
	values []float64
}

// seriesSet holds a state's handles in history, one a column. The archiver alone
// touches it.
type seriesSet struct {
	make   func() []*history.Series
	series []*history.Series
}

// archiver writes the samples of committed groups to history, and acknowledges them
// once they are on disk.
type archiver struct {
	engine *Engine

	mu      sync.Mutex
	samples [][]sample // by group
	waiting int        // how many samples these are
	free    [][]sample // emptied, for groups to come
	room    int        // of those, in samples
	acks    []pendingAck
	overrun []pendingAck // their samples did not fit
	broken  error
	wake    chan struct{}
	settled []chan struct{} // closed when what was added before them is dealt with
	closed  bool

	// The loop's own: what is written and waits for the next sync, and who waits for it.
	written    []pendingAck
	settling   []chan struct{}
	syncedLast time.Time
	// lost are the streams whose samples did not reach history; likewise.
	lost map[*Session]struct{}
	// quiet are the streams with something archived that they were not told; likewise.
	quiet map[*Session]struct{}
}

func newArchiver(e *Engine) *archiver {
	return &archiver{engine: e, wake: make(chan struct{}, 1), lost: make(map[*Session]struct{}), quiet: make(map[*Session]struct{})}
}

func (a *archiver) add(samples []sample, acks []pendingAck) {
	a.mu.Lock()
	if a.waiting+len(samples) <= maxArchive {
		a.samples = append(a.samples, samples)
		a.waiting += len(samples)
		a.acks = append(a.acks, acks...)
	} else {
		a.overrun = append(a.overrun, acks...)
	}
	a.mu.Unlock()
	a.signal()
}

// maxFree bounds the buffers kept for groups to come, in samples: what a third of a
// second brings under full load. Made anew they would be a fifth of all garbage.
const maxFree = 64_000

// buffer gives a group room for its samples.
func (a *archiver) buffer() []sample {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.free)
	if n == 0 {
		return nil
	}
	b := a.free[n-1]
	a.free = a.free[:n-1]
	a.room -= cap(b)
	return b
}

// recycle keeps the buffers of written groups.
func (a *archiver) recycle(samples [][]sample) {
	for _, b := range samples {
		clear(b) // what they refer to is garbage from now on
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range samples {
		if cap(b) > 0 && a.room+cap(b) <= maxFree {
			a.free = append(a.free, b[:0])
			a.room += cap(b)
		}
	}
}

func (a *archiver) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// settle waits until all that was added before is in history, or could not be.
func (a *archiver) settle(ctx context.Context) {
	done := make(chan struct{})
	a.mu.Lock()
	a.settled = append(a.settled, done)
	a.mu.Unlock()
	a.signal()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (a *archiver) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.signal()
}

func (a *archiver) failing() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return fmt.Errorf("history does not take samples: %w", a.broken)
	}
	return nil
}

func (a *archiver) loop() {
	for range a.wake {
		closed := a.pause()
		a.flush()
		if closed || len(a.settling) > 0 || a.untilSync() <= 0 {
			a.tell()
			a.sync()
		}
		if closed {
			a.tell()
			return
		}
		if len(a.written) > 0 || len(a.quiet) > 0 {
			a.signal()
		}
	}
}

// pause lets samples gather, and says whether no more will come. Where none wait yet
// there is nothing to do before the next sync.
func (a *archiver) pause() (closed bool) {
	a.mu.Lock()
	closed = a.closed
	idle := a.waiting == 0 && len(a.settled) == 0
	a.mu.Unlock()
	switch {
	case closed:
	case idle:
		time.Sleep(max(archiveEvery, a.untilSync()))
	default:
		time.Sleep(archiveEvery)
	}
	return closed
}

func (a *archiver) untilSync() time.Duration { return syncEvery - time.Since(a.syncedLast) }

// flush writes what waits. It is acknowledged after the next sync.
func (a *archiver) flush() {
	a.mu.Lock()
	samples, acks, overrun, settled := a.samples, a.acks, a.overrun, a.settled
	a.samples, a.waiting, a.acks, a.overrun, a.settled = nil, 0, nil, nil, nil
	a.mu.Unlock()
	a.settling = append(a.settling, settled...)
	defer a.recycle(samples)
	if len(overrun) > 0 {
		a.engine.log.Warn("history is slower than what comes in; agents will send some of it again", "batches", len(overrun))
		a.lose(overrun)
	}
	if len(acks) == 0 {
		return
	}
	a.written = append(a.written, acks...)
	if err := a.write(samples); err != nil {
		a.fail(err)
	}
}

// sync makes what is written durable, and acknowledges it.
func (a *archiver) sync() {
	if len(a.written) > 0 {
		if err := a.engine.opt.History.Sync(); err != nil {
			a.fail(err)
		} else {
			a.acknowledge(a.written)
			a.written = a.written[:0]
			a.works()
		}
	}
	for _, done := range a.settling {
		close(done)
	}
	clear(a.settling)
	a.settling = a.settling[:0]
	a.syncedLast = time.Now()
}

// fail gives up what is not synced: when history fails it is opened again, perhaps
// without what was written last.
func (a *archiver) fail(err error) {
	if a.setBroken(err) == nil {
		a.engine.log.Error("history does not take samples; agents keep them until it does", "error", err)
	}
	a.engine.metrics.archiveErrors.Inc()
	a.lose(a.written)
	a.written = a.written[:0]
}

// works notes that history has taken samples.
func (a *archiver) works() {
	if a.setBroken(nil) != nil {
		a.engine.log.Info("history takes samples again")
	}
	a.again()
}

// setBroken keeps why history takes nothing, or nil, and returns what was kept before.
func (a *archiver) setBroken(err error) (before error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, a.broken = a.broken, err
	return before
}

// archiveBatch is how many results are committed to history at once. Between batches
// others get the processor.
const archiveBatch = 2000

func (a *archiver) write(groups [][]sample) error {
	total, n := 0, 0
	b := a.engine.opt.History.Begin()
	for _, samples := range groups {
		for i := range samples {
			if err := samples[i].append(b); err != nil {
				return errors.Join(fmt.Errorf("archiving: %w", err), b.Rollback())
			}
			total += len(samples[i].values)
			if n++; n%archiveBatch != 0 {
				continue
			}
			if err := b.Commit(); err != nil {
				return fmt.Errorf("archiving: %w", err)
			}
			runtime.Gosched()
			b = a.engine.opt.History.Begin()
		}
	}
	if err := b.Commit(); err != nil {
		return fmt.Errorf("archiving: %w", err)
	}
	a.engine.metrics.samples.Add(float64(total))
	return nil
}

func (s *sample) append(b *history.Batch) error {
	if s.set.series == nil {
		s.set.series = s.set.make()
	}
	for i, v := range s.values {
		if err := b.Append(s.set.series[i], s.at, v); err != nil && !errors.Is(err, history.ErrFuture) {
			return err
		}
	}
	return nil
}

func (a *archiver) acknowledge(acks []pendingAck) {
	e := a.engine
	e.mu.Lock()
	acks = slices.DeleteFunc(acks, func(p pendingAck) bool { return p.session.lost })
	for _, p := range acks {
		if m := p.session.host.mark.epoch(p.key.epoch); m != nil {
			lane := &m.Lanes[p.key.lane]
			lane.Archived = max(lane.Archived, p.archived)
		}
	}
	e.mu.Unlock()
	for _, p := range acks {
		p.session.out.archived(p.key, p.archived)
		a.quiet[p.session] = struct{}{}
	}
}

// tell sends the acknowledgements of the pass before to the streams that have had
// nothing else to say since. A busy stream heard of them with its next decision, which
// spares it a message of its own, and the collector a burst of them.
func (a *archiver) tell() {
	for s := range a.quiet {
		s.out.nudge()
	}
	clear(a.quiet)
}

// lose notes the streams whose samples did not reach history. They go on: what is
// decided does not need history.
func (a *archiver) lose(acks []pendingAck) {
	for _, p := range acks {
		p.session.lost = true
		a.lost[p.session] = struct{}{}
	}
}

// again ends the streams that lost samples, once history takes some: at their next
// hello they learn how far the archive is, and send the rest again.
func (a *archiver) again() {
	for s := range a.lost {
		s.out.close()
	}
	clear(a.lost)
}
