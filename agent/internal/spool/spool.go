// Package spool keeps an agent's runs, in order, until the collector has them in
// its history.
//
// Runs live in memory first. What is unacknowledged for five seconds, at a
// disconnect or at the end is written to a bbolt file in one fsynced group: a
// commit a run would wear customers' drives. The file is capped; beyond the cap
// the oldest runs are dropped and named in a gap. A file that can't be trusted is
// set aside, and one that can't be written leaves the spool working in memory.
//
// A run is identified by the epoch, which is random per process, and its sequence
// number in that epoch. Two lanes lead to the collector. A run's lane is chosen
// once, when it is about to be sent, and never changes: so a cursor of one lane says
// all about the runs of that lane, also while the collector still works on what an
// earlier stream had sent. What is in the backlog is on disk before it is sent, so
// that a run that is neither on disk nor under a cursor was lost.
package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// The limits that hold where Options say nothing else.
const (
	DefaultMaxBytes    = 256 << 20
	DefaultMemoryBytes = 2 << 20
	MinMaxBytes        = 1 << 20
)

const (
	flushAfter  = 5 * time.Second
	retryAfter  = 30 * time.Second // after the disk refused
	tidyAfter   = time.Second      // acknowledged runs on disk are freed in groups
	reserveStep = 512              // sequence numbers reserved by one commit
	liveWindow  = 512              // runs sent in the LIVE lane and not yet decided
	replaceOver = 256 << 10        // an empty file larger than this is replaced
)

// Options configure a spool.
type Options struct {
	// Dir is the folder that holds the spool's files; "" keeps runs in memory only.
	Dir string
	// Owner is the host id. Runs of another owner are discarded.
	Owner string
	// MaxBytes bounds the file, MemoryBytes what is held in memory.
	MaxBytes, MemoryBytes int64
	// BootID changes when the machine boots. It tells a kill, after which the page
	// cache is intact, from a power cut.
	BootID string
	// NewEpoch gives a random number that is not 0; nil takes the system's randomness.
	NewEpoch func() uint64
	Logger   *slog.Logger
}

// Entry is a spooled run.
type Entry struct {
	Sequence uint64
	Run      *checkpb.Run
}

// Batch is what Live and Backlog return: runs of one epoch in ascending sequence.
type Batch struct {
	Epoch   uint64
	Entries []Entry
	// Bytes is the size of the runs as they are spooled.
	Bytes int
}

// Stats are figures of a spool.
type Stats struct {
	Runs        int64 // held, in memory and on disk
	Bytes       int64 // the same, in bytes
	FileBytes   int64
	OnDisk      int64 // runs
	Dropped     uint64
	Lost        uint64
	Damaged     uint64
	Refused     uint64
	DiskFailing bool
	// OldestMS is the planned tick, in Unix milliseconds, of the oldest run in
	// memory, or 0.
	OldestMS int64
}

// Spool is safe for concurrent use.
type Spool struct {
	opts Options
	wake chan struct{}

	mu       sync.Mutex
	closed   bool
	store    *store // nil while there is none
	loaded   bool   // what the store held at the start is known
	changed  bool   // epochs or gaps have to be stored at the next occasion
	failing  bool
	retryAt  time.Time
	markFile *os.File
	epochs   []*epoch // oldest first; the last is the running one
	mem      []*held  // not on disk, oldest first
	memBytes int64
	tasks    map[string]position
	dirty    map[string]struct{} // tasks whose position is not stored yet
	gaps     gaps
	counts   [4]uint64 // by agentpb.Gap_Reason
	timer    *time.Timer
	timerAt  time.Time
}

// held is a run in memory.
type held struct {
	epoch     *epoch
	sequence  uint64
	task      string
	plannedMS int64
	payload   []byte
	since     time.Time
}

type position struct{ ordinal, sequence uint64 }

// Open opens the spool of a folder, or makes it. What can't be trusted is set
// aside; the error is for a folder that is unusable altogether, or in use.
func Open(opts Options) (*Spool, error) {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if opts.MemoryBytes == 0 {
		opts.MemoryBytes = DefaultMemoryBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.NewEpoch == nil {
		opts.NewEpoch = randomEpoch
	}
	if opts.MaxBytes < MinMaxBytes {
		return nil, fmt.Errorf("a spool needs at least %d bytes, not %d", MinMaxBytes, opts.MaxBytes)
	}
	s := &Spool{opts: opts, wake: make(chan struct{}, 1), tasks: map[string]position{}, dirty: map[string]struct{}{}}
	if opts.Dir != "" {
		if err := s.recover(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginEpoch()
	return s, nil
}

func randomEpoch() uint64 {
	var b [8]byte
	for binary.BigEndian.Uint64(b[:]) == 0 {
		_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	}
	return binary.BigEndian.Uint64(b[:])
}

func (s *Spool) path(name string) string { return filepath.Join(s.opts.Dir, name) }

const (
	storeName = "spool.db"
	markName  = "spool.mark"
)

// beginEpoch starts an epoch and makes it known on disk.
func (s *Spool) beginEpoch() {
	// The time keeps ordinals apart when the store can't be read yet; that they rise
	// is all that is asked of them.
	ordinal := uint64(max(1, time.Now().Unix()))
	if n := len(s.epochs); n > 0 {
		ordinal = max(ordinal, s.epochs[n-1].ordinal+1)
		s.epochs[n-1].ended = true
	}
	s.epochs = append(s.epochs, &epoch{ordinal: ordinal, id: s.opts.NewEpoch(), reserved: reserveStep, mine: true, resumed: true})
	s.persist()
	s.writeMark()
}

func (s *Spool) running() *epoch { return s.epochs[len(s.epochs)-1] }

// StartEpoch ends the running epoch and begins another. The collector holds one
// clock offset per epoch, so a clock that was set needs a new one.
func (s *Spool) StartEpoch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginEpoch()
}

// Wake is signalled when there may be something to send in the LIVE lane.
func (s *Spool) Wake() <-chan struct{} { return s.wake }

func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Append takes a run. It never refuses one: what does not fit displaces the oldest.
func (s *Spool) Append(run *checkpb.Run) error {
	payload, err := proto.Marshal(run)
	if err != nil {
		return fmt.Errorf("spooling a run of %s: %w", run.GetCheck(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the spool is closed")
	}
	e := s.running()
	e.newest++
	task := taskKey(run)
	s.tasks[task] = position{e.ordinal, e.newest}
	s.dirty[task] = struct{}{}
	s.mem = append(s.mem, &held{e, e.newest, task, run.GetPlannedMs(), payload, time.Now()})
	s.memBytes += int64(len(payload))
	if e.newest > e.reserved {
		e.reserved = e.newest + reserveStep
		s.persist()
	}
	if s.memBytes > s.opts.MemoryBytes {
		s.persist()
		s.dropFromMemory()
	}
	s.writeMark()
	s.schedule(flushAfter)
	s.signal()
	return nil
}

func taskKey(run *checkpb.Run) string { return run.GetCheck() + "\x00" + run.GetInstance() }

// dropFromMemory drops the oldest runs in memory that the disk did not take.
func (s *Spool) dropFromMemory() {
	n := 0
	for ; n < len(s.mem) && s.memBytes > s.opts.MemoryBytes; n++ {
		h := s.mem[n]
		s.lose(h.epoch, h.sequence, agentpb.Gap_DROPPED)
		s.memBytes -= int64(len(h.payload))
	}
	s.dropPrefix(n)
}

// dropPrefix forgets the first n runs in memory without holding on to the array.
func (s *Spool) dropPrefix(n int) {
	if n == len(s.mem) {
		s.mem = nil
		return
	}
	clear(s.mem[:n])
	s.mem = s.mem[n:]
}

// lose records that a run will not come.
func (s *Spool) lose(e *epoch, sequence uint64, reason agentpb.Gap_Reason) {
	e.forgetLive(sequence)
	s.gaps.add(e.ordinal, sequence, reason)
	s.counts[reason]++
}

// Disconnected writes what is unacknowledged to disk, and lets the next Resume
// repeat what this stream did not get acknowledged.
func (s *Spool) Disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retryAt = time.Time{}
	s.persist()
}

// Close writes everything to disk and closes the files.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.retryAt = time.Time{}
	for _, e := range s.epochs {
		e.closing = true
	}
	s.persist()
	return s.closeFiles()
}

func (s *Spool) closeFiles() error {
	var errs []error
	if s.markFile != nil {
		errs = append(errs, s.markFile.Sync(), s.markFile.Close())
		s.markFile = nil
	}
	if s.store != nil {
		errs = append(errs, s.store.close())
		s.store = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the spool: %w", err)
	}
	return nil
}

// Reset discards everything and begins anew for another owner.
func (s *Spool) Reset(owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.closeFiles()
	s.opts.Owner = owner
	s.epochs, s.mem, s.memBytes, s.gaps, s.loaded = nil, nil, 0, nil, false
	clear(s.tasks)
	clear(s.dirty)
	if s.opts.Dir != "" {
		err = errors.Join(err, s.recoverLocked())
	}
	s.beginEpoch()
	return err
}

// schedule makes sure that tidy runs within d.
func (s *Spool) schedule(d time.Duration) {
	if s.opts.Dir == "" || s.closed {
		return
	}
	at := time.Now().Add(d)
	if !s.timerAt.IsZero() && !at.Before(s.timerAt) {
		return
	}
	s.timerAt = at
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.tidy)
		return
	}
	s.timer.Reset(d)
}

// tidy is the timer's work: runs that waited long enough go to disk, acknowledged
// ones leave it.
func (s *Spool) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timerAt = time.Time{}
	if s.closed {
		return
	}
	if s.untidy() || (len(s.mem) > 0 && time.Since(s.mem[0].since) >= flushAfter) {
		s.persist()
		s.writeMark()
	}
	switch {
	case s.failing:
		s.schedule(retryAfter)
	case len(s.mem) > 0:
		s.schedule(max(tidyAfter, flushAfter-time.Since(s.mem[0].since)))
	}
}

// Stats returns the spool's figures.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Runs: int64(len(s.mem)), Bytes: s.memBytes, DiskFailing: s.failing,
		Dropped: s.counts[agentpb.Gap_DROPPED], Lost: s.counts[agentpb.Gap_LOST],
		Damaged: s.counts[agentpb.Gap_DAMAGED], Refused: s.counts[agentpb.Gap_REFUSED],
	}
	if len(s.mem) > 0 {
		st.OldestMS = s.mem[0].plannedMS
	}
	if s.store != nil {
		st.OnDisk = s.store.runs
		st.Runs += s.store.runs
		st.Bytes += s.store.bytes
		st.FileBytes = s.store.fileBytes()
	}
	return st
}

// diskCap is the part of the file's cap that
// runs may take, the rest being bbolt's.
func (s *Spool) diskCap() int64 { return s.opts.MaxBytes / 5 * 4 }
