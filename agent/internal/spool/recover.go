package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/wacht-io/wacht/agent/agentpb"
)

func (s *Spool) recover() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recoverLocked()
}

// recoverLocked takes over what earlier processes left in the folder.
func (s *Spool) recoverLocked() error {
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("making the spool's folder: %w", err)
	}
	_ = os.Remove(s.path(storeName + ".new"))
	damaged, err := s.openFirst()
	if err != nil {
		return err
	}
	f, m, err := openMark(s.path(markName))
	if err != nil {
		s.diskError(err)
	}
	s.markFile = f
	if s.store != nil {
		err = s.load()
		if err != nil {
			s.epochs, s.gaps = nil, nil
			clear(s.tasks)
		}
		if errors.Is(err, errForeign) {
			return s.wipe()
		}
		if err != nil {
			damaged = true
			s.diskError(fmt.Errorf("%w: %w", errDamaged, err))
		}
	}
	if m != nil {
		s.compare(m, damaged)
	}
	s.epochs = slices.DeleteFunc(s.epochs, func(e *epoch) bool { return e.newest == 0 })
	s.limitEpochs()
	return nil
}

// maxEpochs bounds the epochs that a Hello names, below the 256 that collectors
// accept: one a start of the agent while the collector was away.
const maxEpochs = 200

// limitEpochs gives up the oldest epochs of an agent that was started very often,
// at first those that hold no runs.
func (s *Spool) limitEpochs() {
	for _, empty := range []bool{true, false} {
		excess := len(s.epochs) - (maxEpochs - 1) // the one to come counts
		s.epochs = slices.DeleteFunc(s.epochs, func(e *epoch) bool {
			if excess <= 0 || (empty && e.first > 0) {
				return false
			}
			excess--
			s.giveUpEpoch(e)
			return true
		})
	}
}

// giveUpEpoch frees what is on disk of an epoch that nobody will hear of.
func (s *Spool) giveUpEpoch(e *epoch) {
	s.gaps = slices.DeleteFunc(s.gaps, func(g *gap) bool { return g.ordinal == e.ordinal })
	if e.first == 0 || s.store == nil {
		return
	}
	before := s.store.runs
	err := s.store.update(func(tx *bolt.Tx) error {
		return s.store.remove(tx, e.ordinal, e.first, e.last, func(uint64) bool { return true })
	})
	if err != nil {
		s.diskError(err)
		return
	}
	s.counts[agentpb.Gap_DROPPED] += uint64(before - s.store.runs)
	s.opts.Logger.Warn("the agent was started too often while the collector was away: the oldest runs are dropped", "runs", before-s.store.runs)
}

// openFirst opens the store, or sets a damaged one aside. Only a folder that is in
// use is an error: the watch goes on without a disk.
func (s *Spool) openFirst() (damaged bool, err error) {
	st, err := openStore(s.path(storeName), s.opts.MaxBytes)
	switch {
	case err == nil:
		s.store = st
	case errors.Is(err, ErrInUse):
		return false, err
	case errors.Is(err, errDamaged):
		s.setAside(err)
		return true, nil
	default:
		s.diskError(err)
	}
	return false, nil
}

// errForeign means that the runs belong to another host.
var errForeign = errors.New("the spool belongs to another host")

// wipe discards the runs of another owner.
func (s *Spool) wipe() error {
	s.opts.Logger.Info("the spool belongs to another host: it is emptied")
	if err := s.closeFiles(); err != nil {
		return err
	}
	for _, name := range []string{storeName, markName} {
		if err := os.Remove(s.path(name)); err != nil {
			return fmt.Errorf("emptying the spool: %w", err)
		}
	}
	return s.recoverLocked()
}

// load reads epochs, gaps and tasks from the store.
func (s *Spool) load() error {
	err := s.store.view(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if owner := meta.Get(keyOwner); owner != nil && string(owner) != s.opts.Owner {
			return errForeign
		}
		list, err := loadGaps(tx)
		if err != nil {
			return err
		}
		s.gaps = append(list, s.gaps...)
		if err := tx.Bucket(bucketEpochs).ForEach(s.loadEpoch); err != nil {
			return err
		}
		return tx.Bucket(bucketTasks).ForEach(func(k, v []byte) error {
			_, newer := s.tasks[string(k)]
			if ordinal, sequence, ok := decodeKey(v); ok && !newer {
				s.tasks[string(k)] = position{ordinal, sequence}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.loaded = true
	return s.bound()
}

// loadGaps reads the gaps. They are there, if only as an empty list, whenever an
// epoch is.
func loadGaps(tx *bolt.Tx) (gaps, error) {
	if b := tx.Bucket(bucketMeta).Get(keyGaps); b != nil {
		return decodeGaps(b)
	}
	if k, _ := tx.Bucket(bucketEpochs).Cursor().First(); k != nil {
		return nil, errors.New("the list of gaps is missing")
	}
	return nil, nil
}

func (s *Spool) loadEpoch(k, v []byte) error {
	r, err := decodeEpochRecord(k, v)
	if err != nil {
		return err
	}
	if len(k) != 8 {
		return errors.New("an epoch's key is damaged")
	}
	e := &epoch{
		ordinal: binary.BigEndian.Uint64(k), id: r.epoch, newest: r.reserved, reserved: r.reserved,
		archived: r.archived, lives: r.live, unclean: !r.clean, unsure: r.unsure, reason: agentpb.Gap_LOST, floor: r.first,
	}
	if r.damaged {
		e.reason = agentpb.Gap_DAMAGED
	}
	s.epochs = append(s.epochs, e)
	return nil
}

// bound finds what each epoch has on disk, and verifies every run. One whose key or
// content is damaged is deleted, and its epoch is looked through for what is missing.
func (s *Spool) bound() error {
	var bad [][]byte
	s.store.bytes, s.store.runs = 0, 0
	err := s.store.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketRuns).ForEach(func(k, v []byte) error {
			s.store.bytes += storedBytes(max(0, len(v)-recordHeader))
			s.store.runs++
			if !s.holdsRecord(k, v) {
				bad = append(bad, bytes.Clone(k))
			}
			return nil
		})
	})
	if err != nil || len(bad) == 0 {
		return err
	}
	s.opts.Logger.Error("runs in the spool are damaged", "runs", len(bad))
	for _, e := range s.epochs { // a damaged key does not tell which epoch it was of
		e.unclean, e.unsure, e.reason = true, true, agentpb.Gap_DAMAGED
	}
	return s.store.update(func(tx *bolt.Tx) error { return s.store.discard(tx, bad) })
}

// holdsRecord adds a run on disk to its epoch, and says whether it is one.
func (s *Spool) holdsRecord(key, record []byte) bool {
	_, err := decodeRecord(key, record)
	ordinal, sequence, ok := decodeKey(key)
	e := s.byOrdinal(ordinal)
	if err != nil || !ok || e == nil {
		return false
	}
	if e.first == 0 {
		e.first = sequence
	}
	e.last, e.newest = sequence, max(e.newest, sequence)
	return true
}

// compare completes what the store says with the mark of the last process. In the
// same boot the mark is exact; after a power cut the reservation bounds the loss.
func (s *Spool) compare(m *mark, damaged bool) {
	sameBoot := m.boot == hashBoot(s.opts.BootID)
	for _, marked := range m.epochs {
		e := s.byOrdinal(marked.ordinal)
		switch {
		case e == nil && damaged:
			s.epochs = append(s.epochs, fromMark(marked, sameBoot))
		case e == nil || e.id != marked.epoch || !e.unclean:
		case sameBoot:
			e.newest = max(marked.newest, e.last)
			e.floor = marked.first
			e.unsure = e.unsure || m.failing
		default:
			e.newest = max(e.newest, marked.newest)
			e.unsure = e.unsure || m.failing
		}
	}
	if sameBoot && len(m.epochs) < maxMarked {
		// What the mark does not name had been forgotten, or had not given out a number.
		s.epochs = slices.DeleteFunc(s.epochs, func(e *epoch) bool {
			return e.unclean && e.first == 0 && !m.names(e.ordinal)
		})
	}
	slices.SortFunc(s.epochs, func(a, b *epoch) int { return compare(a.ordinal, b.ordinal) })
}

// fromMark is an epoch of which the store is gone: all that it held is damaged.
func fromMark(m markedEpoch, exact bool) *epoch {
	e := &epoch{
		ordinal: m.ordinal, id: m.epoch, newest: m.newest, floor: m.first,
		unclean: true, unsure: true, reason: agentpb.Gap_DAMAGED,
	}
	if !exact {
		e.newest += reserveStep
	}
	return e
}
