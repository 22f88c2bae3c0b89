package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// persistIfNeeded writes when a run waits in memory or an epoch's lanes have
// changed under runs on disk.
func (s *Spool) persistIfNeeded() {
	if s.changed || len(s.mem) > 0 || s.untidy() || slices.ContainsFunc(s.epochs, func(e *epoch) bool { return e.first > 0 }) {
		s.persist()
	}
}

func (s *Spool) untidy() bool { return slices.ContainsFunc(s.epochs, (*epoch).untidy) }

// persist brings the disk up to date in one commit. When the disk refuses, runs
// stay in memory and it is tried again later.
func (s *Spool) persist() {
	if s.opts.Dir == "" || time.Now().Before(s.retryAt) {
		return
	}
	for range 2 { // a damaged file is replaced, and the fresh one written
		err := s.openAgain()
		if err == nil {
			err = s.write(s.diskCap())
		}
		if errors.Is(err, berrors.ErrMaxSizeReached) {
			err = s.write(s.diskCap() / 2)
		}
		if err == nil {
			s.diskWorks()
			return
		}
		s.diskError(err)
		if !errors.Is(err, errDamaged) {
			return
		}
	}
}

func (s *Spool) diskWorks() {
	if s.failing {
		s.opts.Logger.Info("the spool can be written again")
	}
	s.failing = false
	if s.store.runs == 0 && s.store.fileBytes() > replaceOver {
		if err := s.replace(); err != nil {
			s.diskError(err)
		}
	}
}

// diskError decides what an error of the store means.
func (s *Spool) diskError(err error) {
	if errors.Is(err, errDamaged) {
		s.setAside(err)
		return
	}
	if !s.failing {
		s.opts.Logger.Warn("the spool can't be written: runs stay in memory, and the oldest are dropped when it is full", "error", err)
	}
	s.failing = true
	s.retryAt = time.Now().Add(retryAfter)
	s.schedule(retryAfter)
}

func (s *Spool) openAgain() error {
	if s.store != nil {
		return nil
	}
	st, err := openStore(s.path(storeName), s.opts.MaxBytes)
	if err != nil {
		return err
	}
	s.store = st
	if !s.loaded {
		mine := s.epochs
		s.epochs = nil
		err = s.load()
		s.epochs = append(s.epochs, mine...)
	}
	s.forgetStored()
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// forgetStored has epochs and tasks written anew, into a file that lacks them.
func (s *Spool) forgetStored() {
	for _, e := range s.epochs {
		e.stored = nil
	}
	for task := range s.tasks {
		s.dirty[task] = struct{}{}
	}
}

// setAside replaces a file that can't be trusted, and names what was in it.
func (s *Spool) setAside(cause error) {
	s.store = nil // abandoned: closing it would read its pages again
	for _, e := range s.epochs {
		if e.first == 0 {
			continue
		}
		s.loseDisk(e)
		e.first, e.last, e.freed, e.tidyDisk = 0, 0, nil, false
	}
	aside, err := setAside(s.path(storeName), time.Now())
	if err != nil {
		s.opts.Logger.Error("the spool is damaged", "cause", cause, "error", err)
		s.failing, s.retryAt = true, time.Now().Add(retryAfter)
		return
	}
	s.opts.Logger.Error("the spool was damaged: it was set aside, and a new one begun", "cause", cause, "file", aside)
}

func (s *Spool) loseDisk(e *epoch) {
	for sequence := e.first; sequence <= e.last; sequence++ {
		if !e.done(sequence) && s.inMemory(e, sequence) == nil && !s.gaps.covers(e.ordinal, sequence) {
			s.lose(e, sequence, agentpb.Gap_DAMAGED)
		}
	}
}

type lostRun struct{ ordinal, sequence uint64 }

// write is the one commit: it frees, adds, keeps within the cap, and stores the
// epochs, tasks and gaps as they are then.
func (s *Spool) write(limit int64) error {
	var dropped []lostRun
	records := map[*epoch][]byte{}
	err := s.store.update(func(tx *bolt.Tx) error {
		for _, e := range s.epochs {
			if err := s.freeOnDisk(tx, e); err != nil {
				return err
			}
		}
		for _, h := range s.mem {
			if err := s.store.put(tx, h.epoch.ordinal, h.sequence, h.payload); err != nil {
				return err
			}
		}
		var err error
		if dropped, err = s.keepWithin(tx, limit); err != nil {
			return err
		}
		if err := s.putEpochs(tx, records); err != nil {
			return err
		}
		return s.putMeta(tx, dropped)
	})
	if err != nil {
		return err
	}
	return s.written(dropped, records)
}

func (s *Spool) freeOnDisk(tx *bolt.Tx, e *epoch) error {
	if n := len(e.freed); n > 0 {
		if err := s.store.remove(tx, e.ordinal, e.freed[0], e.freed[n-1], e.isFreed); err != nil {
			return err
		}
	}
	if !e.tidyDisk {
		return nil
	}
	last := min(e.archived[backlog], e.horizon)
	return s.store.remove(tx, e.ordinal, e.first, last, func(sequence uint64) bool { return !e.isLive(sequence) })
}

// keepWithin drops the oldest runs when the file's cap is passed, a sixty-fourth
// more than needed so that a full spool does not drop at every commit.
func (s *Spool) keepWithin(tx *bolt.Tx, limit int64) ([]lostRun, error) {
	if s.store.bytes <= limit {
		return nil, nil
	}
	var dropped []lostRun
	err := s.store.dropOldest(tx, limit-limit/64, func(ordinal, sequence uint64) {
		dropped = append(dropped, lostRun{ordinal, sequence})
	})
	return dropped, err
}

func (s *Spool) putEpochs(tx *bolt.Tx, records map[*epoch][]byte) error {
	b := tx.Bucket(bucketEpochs)
	for _, e := range s.epochs {
		record := e.record(e.low(s.firstHeld(e)))
		if e.isStored(record) {
			continue
		}
		if err := b.Put(ordinalKey(e.ordinal), record); err != nil {
			return fmt.Errorf("storing an epoch: %w", err)
		}
		records[e] = record
	}
	var gone [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) != 8 || s.byOrdinal(binary.BigEndian.Uint64(k)) == nil {
			gone = append(gone, bytes.Clone(k))
		}
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return fmt.Errorf("forgetting an epoch: %w", err)
		}
	}
	return nil
}

func (s *Spool) putMeta(tx *bolt.Tx, dropped []lostRun) error {
	list := make(gaps, len(s.gaps))
	for i, g := range s.gaps {
		list[i] = new(*g)
	}
	for _, d := range dropped {
		list.add(d.ordinal, d.sequence, agentpb.Gap_DROPPED)
	}
	meta := tx.Bucket(bucketMeta)
	for key, value := range map[string][]byte{string(keyOwner): []byte(s.opts.Owner), string(keyGaps): list.encode()} {
		if bytes.Equal(meta.Get([]byte(key)), value) {
			continue
		}
		if err := meta.Put([]byte(key), value); err != nil {
			return fmt.Errorf("storing %s: %w", key, err)
		}
	}
	tasks := tx.Bucket(bucketTasks)
	for _, task := range slices.Sorted(maps.Keys(s.dirty)) {
		at, ok := s.tasks[task]
		if !ok {
			continue
		}
		if err := tasks.Put([]byte(task), encodeKey(at.ordinal, at.sequence)); err != nil {
			return fmt.Errorf("storing a task: %w", err)
		}
	}
	return nil
}

// written brings memory up to date after the commit.
func (s *Spool) written(dropped []lostRun, records map[*epoch][]byte) error {
	for _, h := range s.mem {
		if h.epoch.first == 0 {
			h.epoch.first = h.sequence
		}
		h.epoch.last = h.sequence
	}
	s.mem, s.memBytes, s.changed = nil, 0, false
	clear(s.dirty)
	for e, record := range records {
		e.stored = record
	}
	for _, d := range dropped {
		if e := s.byOrdinal(d.ordinal); e != nil {
			s.lose(e, d.sequence, agentpb.Gap_DROPPED)
		}
	}
	for _, e := range s.epochs {
		if e.first == 0 || (len(e.freed) == 0 && !e.tidyDisk && len(dropped) == 0) {
			continue
		}
		e.freed, e.tidyDisk = nil, false
		if err := s.measure(e); err != nil {
			return err
		}
	}
	s.forgetEpochs()
	return nil
}

// measure finds the lowest run of an epoch that is on disk.
func (s *Spool) measure(e *epoch) error {
	from := e.first
	e.first = 0
	err := s.store.scan(e.ordinal, from, func(sequence uint64, _ []byte) bool {
		e.first = sequence
		return false
	})
	if e.first == 0 {
		e.last = 0
	}
	return err
}

// fetch returns a run's payload from memory or disk, nil when there is none any more.
func (s *Spool) fetch(e *epoch, sequence uint64) []byte {
	if h := s.inMemory(e, sequence); h != nil {
		return h.payload
	}
	if s.store == nil || e.first == 0 {
		return nil
	}
	record, err := s.store.get(e.ordinal, sequence)
	if err != nil {
		s.diskError(err)
		return nil
	}
	if record == nil {
		e.forgetLive(sequence)
		return nil
	}
	payload, err := decodeRecord(encodeKey(e.ordinal, sequence), record)
	if err != nil {
		s.giveUp(e, sequence, agentpb.Gap_DAMAGED)
		return nil
	}
	return payload
}

// each calls f for the runs of an epoch above after, until it returns false.
func (s *Spool) each(e *epoch, after uint64, f func(sequence uint64, payload []byte) bool) {
	more := true
	var bad []uint64
	if s.store != nil && e.last > after {
		err := s.store.scan(e.ordinal, after+1, func(sequence uint64, record []byte) bool {
			payload, err := decodeRecord(encodeKey(e.ordinal, sequence), record)
			if err != nil {
				bad = append(bad, sequence)
				return true
			}
			more = f(sequence, payload)
			return more
		})
		for _, sequence := range bad {
			if !e.done(sequence) {
				s.giveUp(e, sequence, agentpb.Gap_DAMAGED)
			}
		}
		if err != nil {
			s.diskError(err)
		}
	}
	if !more {
		return
	}
	for _, h := range slices.Clone(s.mem) {
		if h.epoch == e && h.sequence > after && !f(h.sequence, h.payload) {
			return
		}
	}
}

// writeMark notes what has been given out, without fsync.
func (s *Spool) writeMark() {
	if s.markFile == nil {
		return
	}
	m := mark{boot: hashBoot(s.opts.BootID), failing: s.failing}
	for _, e := range s.epochs {
		m.epochs = append(m.epochs, markedEpoch{e.ordinal, e.id, e.low(s.firstHeld(e)), e.newest})
	}
	if _, err := s.markFile.WriteAt(m.encode(), 0); err != nil && !s.failing {
		s.opts.Logger.Warn("the spool's mark can't be written", "error", err)
		s.failing = true
	}
}
