// Package history keeps what checks measured: an embedded Prometheus TSDB with
// durable commits, and Prometheus' query API over it, kept within one customer.
//
// Nothing here is needed to open an incident. When the disk is full or the files
// are damaged, history refuses samples or starts anew beside the damaged files, and
// the rest of the collector goes on.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// What Open uses where Options says nothing else.
const (
	DefaultRetention  = 30 * 24 * time.Hour
	DefaultOutOfOrder = 4 * 24 * time.Hour
	// DefaultMinFree leaves room for what the TSDB writes on its own accord (chunks
	// of the head, a compaction): it panics when that fails for want of space.
	DefaultMinFree = 256 << 20
)

// FutureLimit is how far beyond now a sample may lie. The TSDB judges what is too
// old by its newest sample, so one of the year 2099 would end everybody's history.
const FutureLimit = time.Hour

// Errors that Append, Commit and Sync give, to be told apart with errors.Is.
var (
	// ErrFuture says that a sample lies beyond now + FutureLimit.
	ErrFuture = errors.New("the sample's time lies too far in the future")
	// ErrNotNumber says that a sample's value is NaN, by which Prometheus marks the
	// end of a series.
	ErrNotNumber = errors.New("the sample's value is not a number")
	// ErrDiskFull says that the disk has less space left than Options.MinFree.
	ErrDiskFull = errors.New("too little disk space is left for history")
	// ErrUnavailable says that the files are being reopened after a failure, or that
	// the store was closed; what was not synced must be appended again.
	ErrUnavailable = errors.New("history is not available now")
)

// Options of a Store; a zero value means the default.
type Options struct {
	// Retention is how long samples are kept.
	Retention time.Duration
	// OutOfOrder is how much older than the newest sample of all series another may
	// be. It must exceed the time that an agent spools by a day.
	OutOfOrder time.Duration
	// MinFree is how many bytes the disk must have free for samples to be taken.
	MinFree uint64
	// Registerer gets the metrics of the store and the TSDB; nil means none.
	Registerer prometheus.Registerer
	// Logger gets what the TSDB does and every damage found; nil means none.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Retention <= 0 {
		o.Retention = DefaultRetention
	}
	if o.OutOfOrder <= 0 {
		o.OutOfOrder = DefaultOutOfOrder
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is the history of all customers. It is safe for concurrent use.
type Store struct {
	dir     string
	options Options
	logger  *slog.Logger
	metrics *metrics
	journal *journal
	lock    fileutil.Releaser
	system  system

	stop    context.CancelFunc
	stopped context.Context
	reopens sync.WaitGroup

	mu      sync.Mutex
	current *generation // nil while reopening and after Close
	number  uint64      // of the newest generation
	damage  []Damage
}

// Open opens the history in dir, or makes it. Damaged files are repaired or set
// aside in dir/damaged; Damage tells which. When the disk is too full to open it, the
// Store answers ErrUnavailable until there is room.
func Open(dir string, options Options) (*Store, error) {
	return open(dir, options, system{freeSpace: freeSpace, datasync: fileutil.Fdatasync})
}

// system is what the store needs of the machine; tests put failures there.
type system struct {
	freeSpace func(dir string) (uint64, error)
	datasync  func(*os.File) error
	// segment is the size of the logs' segments in bytes, 0 for the TSDB's default.
	segment int
}

func open(dir string, options Options, on system) (*Store, error) {
	s := &Store{dir: dir, options: options.withDefaults(), system: on}
	s.logger = s.options.Logger
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.journal = newJournal(s.data(), on.datasync)
	s.metrics = newMetrics()
	if err := os.MkdirAll(s.data(), 0o750); err != nil {
		return nil, fmt.Errorf("making the history's folder: %w", err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(s.data(), "lock"))
	if err != nil {
		return nil, fmt.Errorf("locking the history in %s: %w", dir, err)
	}
	s.lock = lock
	if s.current, err = s.start(); full(err) {
		s.logger.Error("The disk is too full to open history; trying again until it is not", "error", err)
		s.reopens.Go(s.keepOpening)
	} else if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the history in %s: %w", dir, err), s.lock.Release())
	}
	if err := s.metrics.register(s.options.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("registering the history's metrics: %w", err), s.Close())
	}
	return s, nil
}

// data is the TSDB's own folder.
func (s *Store) data() string { return filepath.Join(s.dir, "tsdb") }

// Close writes what is open and closes the files. Batches that are open then fail.
func (s *Store) Close() error {
	s.stop()
	g := s.detach()
	s.reopens.Wait()
	var err error
	if g != nil {
		g.users.Wait()
		if err = g.db.Close(); err != nil {
			err = fmt.Errorf("closing the history: %w", err)
		}
		err = errors.Join(err, s.journal.syncAll())
	}
	s.metrics.unregister(s.options.Registerer)
	return errors.Join(err, s.journal.close(), s.lock.Release())
}

// generation is one opening of the TSDB. References to series hold only within it.
type generation struct {
	number   uint64
	db       *tsdb.DB
	registry *prometheus.Registry
	// wblFailed tells when the log of out-of-order samples could not be written.
	wblFailed *failureTap
	users     sync.WaitGroup

	// low says that the disk is nearly full; compacting holds while it is made so.
	low        atomic.Bool
	compacting sync.Mutex
}

// setLow stops the TSDB from compacting while the disk is nearly full, because it
// panics when there is no room for what it writes of its head. It does not wait: a
// compaction that runs must end first.
func (g *generation) setLow(low bool) {
	if g.low.Swap(low) == low {
		return
	}
	g.users.Go(func() {
		g.compacting.Lock()
		defer g.compacting.Unlock()
		if g.low.Load() {
			g.db.DisableCompactions()
		} else {
			g.db.EnableCompactions()
		}
	})
}

// acquire returns the current generation; the caller must call users.Done.
func (s *Store) acquire() (*generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, ErrUnavailable
	}
	s.current.users.Add(1)
	return s.current, nil
}

// detach takes the current generation away; nil when there is none.
func (s *Store) detach() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.current
	s.current = nil
	return g
}

// fail reopens the TSDB after a write to it failed: what is in its memory is then
// not what is in its log, and the log may end in the middle of a record.
func (s *Store) fail(g *generation, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != g {
		return
	}
	s.current = nil
	s.metrics.failures.Inc()
	s.logger.Error("History failed to write; reopening it", "error", cause)
	s.reopens.Go(func() { s.reopen(g) })
}

func (s *Store) reopen(old *generation) {
	old.users.Wait()
	if err := closeQuietly(old.db); err != nil {
		s.logger.Warn("History closed with an error", "error", err)
	}
	s.keepOpening()
}

// keepOpening tries to open the TSDB until it works or the store is closed.
func (s *Store) keepOpening() {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		select {
		case <-s.stopped.Done():
			return
		case <-time.After(wait):
		}
		g, err := s.restart()
		if err == nil {
			s.resume(g)
			return
		}
		s.logger.Error("History can't be reopened yet", "error", err)
	}
}

// resume lets g be used, unless the store was closed meanwhile.
func (s *Store) resume(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped.Err() == nil {
		s.current = g
		s.logger.Info("History is open again")
		return
	}
	if err := g.db.Close(); err != nil {
		s.logger.Warn("History closed with an error", "error", err)
	}
}

// restart is start after a failure: first what may not have reached the disk is
// written again.
func (s *Store) restart() (*generation, error) {
	if err := s.roomLeft(); err != nil {
		return nil, err
	}
	if err := s.journal.rewriteUnsynced(); err != nil {
		return nil, err
	}
	return s.start()
}

// roomLeft says whether the disk has enough free space for history to write.
func (s *Store) roomLeft() error {
	free, err := s.system.freeSpace(s.dir)
	if err != nil {
		return fmt.Errorf("asking for the free space of %s: %w", s.dir, err)
	}
	if free < s.options.MinFree {
		return fmt.Errorf("%w: %d bytes free, %d are needed", ErrDiskFull, free, s.options.MinFree)
	}
	return nil
}

// Querier lets Prometheus' query engine read. It implements storage.Queryable.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	q, err := g.db.Querier(mint, maxt)
	if err != nil {
		g.users.Done()
		return nil, fmt.Errorf("reading history: %w", err)
	}
	return &querier{Querier: q, done: g.users.Done}, nil
}

// querier holds its generation open until it is closed.
type querier struct {
	storage.Querier
	once sync.Once
	done func()
}

// Close implements storage.Querier.
func (q *querier) Close() error {
	err := q.Querier.Close()
	q.once.Do(q.done)
	return err
}
