package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// A store is the spool's bbolt file. Its buckets:
//
//	runs    ordinal, sequence → record
//	epochs  ordinal → epochRecord
//	tasks   check NUL instance → key of the task's newest run
//	meta    "owner" → host id; "gaps" → gaps; "bytes", "runs" → totals of runs
type store struct {
	path  string
	db    *bolt.DB
	bytes int64 // what the runs take, by storedBytes
	runs  int64
}

var (
	bucketRuns   = []byte("runs")
	bucketEpochs = []byte("epochs")
	bucketTasks  = []byte("tasks")
	bucketMeta   = []byte("meta")
	keyOwner     = []byte("owner")
	keyGaps      = []byte("gaps")
	keyBytes     = []byte("bytes")
	keyRuns      = []byte("runs")
)

// errDamaged means that the file's content can't be trusted any more.
var errDamaged = errors.New("the spool's file is damaged")

// ErrInUse means that another process has the spool open.
var ErrInUse = errors.New("another agent has this state folder open: stop it first")

// openStore opens or makes the file. It fails with errDamaged when the file has to
// be set aside, with ErrInUse, or for a reason of the file system.
func openStore(path string, maxBytes int64) (*store, error) {
	if _, err := os.Stat(path); err == nil {
		if err := verifyLocked(path); err != nil {
			return nil, err
		}
	}
	s := &store{path: path}
	err := s.guard(func() error { return s.open(maxBytes) })
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	case err != nil:
		return nil, err
	}
	return s, nil
}

// verifyLocked verifies the pages, after making sure that no other process is
// writing them.
func verifyLocked(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() == 0 {
		return nil // a process died before bbolt wrote its first page
	}
	err = verifyFile(path)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if lockErr := probeLock(path); lockErr != nil {
		return lockErr
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

func (s *store) open(maxBytes int64) error {
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		MaxSize:        int(maxBytes),
		NoStatistics:   true,
		OpenFile:       openShared,
	})
	if err != nil {
		return fmt.Errorf("opening the spool: %w", err)
	}
	db.AllocSize = 1 << 20
	s.db = db
	if ready, err := s.ready(); err != nil || ready {
		return err
	}
	if err := s.update(prepare); err != nil {
		if !errors.Is(err, errDamaged) {
			_ = db.Close()
		}
		return fmt.Errorf("preparing the spool: %w", err)
	}
	return nil
}

func buckets() [][]byte { return [][]byte{bucketRuns, bucketEpochs, bucketTasks, bucketMeta} }

// ready says whether the file has been prepared, and reads its totals. A prepared
// file is not written when it is opened: the disk may be full.
func (s *store) ready() (ready bool, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		there := 0
		if err := tx.ForEach(func([]byte, *bolt.Bucket) error { there++; return nil }); err != nil || there == 0 {
			return err
		}
		for _, name := range buckets() {
			if tx.Bucket(name) == nil || there != len(buckets()) {
				return fmt.Errorf("%w: its buckets are not those of a spool", errDamaged)
			}
		}
		meta := tx.Bucket(bucketMeta)
		s.bytes, s.runs = number(meta.Get(keyBytes)), number(meta.Get(keyRuns))
		ready = true
		return nil
	})
	return ready, err
}

func prepare(tx *bolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("making bucket %s: %w", name, err)
		}
	}
	return nil
}

func number(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// guard turns a panic or a memory fault in bbolt into errDamaged. After it the
// database is abandoned as it is: closing or rolling back would read its pages again.
func (s *store) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// update runs one durable transaction. The totals are part of it.
func (s *store) update(f func(tx *bolt.Tx) error) error {
	bytesBefore, runsBefore := s.bytes, s.runs
	err := s.guard(func() error { return s.transact(f) })
	if err != nil {
		s.bytes, s.runs = bytesBefore, runsBefore
	}
	return err
}

func (s *store) transact(f func(tx *bolt.Tx) error) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	if err = f(tx); err == nil {
		err = s.totals(tx)
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func (s *store) totals(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return nil
	}
	for key, n := range map[string]int64{string(keyBytes): s.bytes, string(keyRuns): s.runs} {
		value := binary.BigEndian.AppendUint64(nil, uint64(n))
		if bytes.Equal(meta.Get([]byte(key)), value) {
			continue
		}
		if err := meta.Put([]byte(key), value); err != nil {
			return fmt.Errorf("storing totals: %w", err)
		}
	}
	return nil
}

func (s *store) view(f func(tx *bolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(f) })
}

func (s *store) put(tx *bolt.Tx, ordinal, sequence uint64, payload []byte) error {
	runs := tx.Bucket(bucketRuns)
	runs.FillPercent = 0.95 // keys only grow: a page that is full stays so
	key := encodeKey(ordinal, sequence)
	if err := runs.Put(key, encodeRecord(key, payload)); err != nil {
		return fmt.Errorf("spooling a run: %w", err)
	}
	s.bytes += storedBytes(len(payload))
	s.runs++
	return nil
}

// remove deletes the runs of an epoch from first to last for which doomed is true,
// and tells each one's sequence number to gone.
func (s *store) remove(tx *bolt.Tx, ordinal, first, last uint64, doomed func(uint64) bool) error {
	c := tx.Bucket(bucketRuns).Cursor()
	k, v := c.Seek(encodeKey(ordinal, first))
	for k != nil {
		at, sequence, ok := decodeKey(k)
		if !ok || at != ordinal || sequence > last {
			return nil
		}
		if !doomed(sequence) {
			k, v = c.Next()
			continue
		}
		if err := s.deleteAt(c, v); err != nil {
			return err
		}
		// A deletion may leave the cursor on the next key or before it.
		k, v = c.Seek(encodeKey(ordinal, sequence+1))
	}
	return nil
}

// discard deletes runs by their keys, which may be damaged.
func (s *store) discard(tx *bolt.Tx, keys [][]byte) error {
	b := tx.Bucket(bucketRuns)
	for _, k := range keys {
		s.bytes -= storedBytes(max(0, len(b.Get(k))-recordHeader))
		s.runs--
		if err := b.Delete(k); err != nil {
			return fmt.Errorf("discarding a damaged run: %w", err)
		}
	}
	return nil
}

func (s *store) deleteAt(c *bolt.Cursor, value []byte) error {
	s.bytes -= storedBytes(max(0, len(value)-recordHeader))
	s.runs--
	if err := c.Delete(); err != nil {
		return fmt.Errorf("freeing a spooled run: %w", err)
	}
	return nil
}

// dropOldest deletes the oldest runs until no more than keep bytes are left, and
// tells each to dropped.
func (s *store) dropOldest(tx *bolt.Tx, keep int64, dropped func(ordinal, sequence uint64)) error {
	c := tx.Bucket(bucketRuns).Cursor()
	for k, v := c.First(); k != nil && s.bytes > keep; k, v = c.First() {
		if ordinal, sequence, ok := decodeKey(k); ok {
			dropped(ordinal, sequence)
		}
		if err := s.deleteAt(c, v); err != nil {
			return err
		}
	}
	return nil
}

// scan calls each for the runs of an epoch from sequence first on, until it
// returns false. The record is valid during the call only.
func (s *store) scan(ordinal, first uint64, each func(sequence uint64, record []byte) bool) error {
	return s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRuns).Cursor()
		for k, v := c.Seek(encodeKey(ordinal, first)); k != nil; k, v = c.Next() {
			at, sequence, ok := decodeKey(k)
			if !ok || at != ordinal || !each(sequence, v) {
				return nil
			}
		}
		return nil
	})
}

// get returns a copy of a record, nil when there is none.
func (s *store) get(ordinal, sequence uint64) (record []byte, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		record = bytes.Clone(tx.Bucket(bucketRuns).Get(encodeKey(ordinal, sequence)))
		return nil
	})
	return record, err
}

func (s *store) close() error {
	return s.guard(s.db.Close)
}

// fileBytes is the size of the file.
func (s *store) fileBytes() int64 {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// setAside renames a damaged file, so that a person can look at it, and removes
// the one set aside before.
func setAside(path string, now time.Time) (string, error) {
	older, _ := filepath.Glob(path + ".damaged-*")
	aside := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("setting the damaged spool aside: %w", err)
	}
	for _, p := range older {
		if p != aside {
			_ = os.Remove(p)
		}
	}
	return aside, nil
}
