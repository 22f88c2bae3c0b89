// Package boltstore keeps the collector's rows in one bbolt file, the default store.
//
// A commit is one bbolt transaction and one fsync; who wants several changes in one
// fsync puts them into one commit. Reading takes short transactions, because bbolt
// cannot reuse the pages that a reader may still look at.
//
// bbolt trusts its file: a flipped bit can end the process or return wrong rows.
// So Open walks the whole file first, without trusting it, and every row carries a
// checksum. A file that is damaged is refused, or set aside when the caller says so,
// with what can still be read of it carried over.
package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/rows"
)

// Buckets beside those of the tables, whose names have no zero byte at the start.
const (
	claimsBucket = "\x00claims"
	aboutBucket  = "\x00about"
)

// Store is a store.Store in a bbolt file.
type Store struct {
	rows.Reader

	db *bolt.DB
	// turn is held by the one who writes; a channel, so that waiting for it heeds the context.
	turn chan struct{}
	// terms are the newest claims as far as they are known, guarded by turn.
	terms map[string]uint64
}

func newStore(db *bolt.DB) *Store {
	s := &Store{db: db, turn: make(chan struct{}, 1), terms: map[string]uint64{}}
	s.Reader = rows.Reader{View: s.view}
	return s
}

// tx shows a bbolt transaction to package rows.
type tx struct{ *bolt.Tx }

func (t tx) Bucket(name string) (rows.Bucket, error) {
	if t.Writable() {
		b, err := t.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return nil, err
		}
		return bucket{b}, nil
	}
	if b := t.Tx.Bucket([]byte(name)); b != nil {
		return bucket{b}, nil
	}
	return nil, nil
}

type bucket struct{ *bolt.Bucket }

func (b bucket) Cursor() rows.Cursor { return b.Bucket.Cursor() }

func (s *Store) view(ctx context.Context, f func(rows.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return guarded(func() error {
		return s.db.View(func(t *bolt.Tx) error { return f(tx{t}) })
	})
}

// guarded makes an error of what bbolt does about a damaged page: it panics, or the
// processor faults on the mapped file.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err = fmt.Errorf("%w: %v", store.ErrDamaged, p)
	}()
	return f()
}

// Claim takes a scope over from whoever had it, durably.
func (s *Store) Claim(ctx context.Context, scope string) (store.Term, error) {
	if err := store.CheckKey("", scope); err != nil {
		return store.Term{}, fmt.Errorf("claiming a scope: %w", err)
	}
	var number uint64
	err := s.update(ctx, func(t *bolt.Tx) error {
		was, err := term(t, scope)
		if err != nil {
			return err
		}
		number = was + 1
		// Until the commit has ended well nobody knows which one is on the disk.
		delete(s.terms, scope)
		claims, err := t.CreateBucketIfNotExists([]byte(claimsBucket))
		if err != nil {
			return err
		}
		return claims.Put(claimKey(scope), rows.Seal(string(claimKey(scope)), binary.BigEndian.AppendUint64(nil, number)))
	})
	if err != nil {
		return store.Term{}, fmt.Errorf("claiming %s: %w", scope, err)
	}
	return store.Term{Scope: scope, Number: number}, nil
}

// claimKey is never empty, which bbolt would refuse.
func claimKey(scope string) []byte { return []byte("scope\x00" + scope) }

// term reads the newest claim of a scope, 0 when there is none.
func term(t *bolt.Tx, scope string) (uint64, error) {
	claims := t.Bucket([]byte(claimsBucket))
	if claims == nil {
		return 0, nil
	}
	sealed := claims.Get(claimKey(scope))
	if sealed == nil {
		return 0, nil
	}
	value, err := rows.Unseal(claimKey(scope), sealed)
	if err != nil || len(value) != 8 {
		return 0, fmt.Errorf("the claim of %s: %w", scope, errors.Join(err, store.ErrDamaged))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Commit writes everything or nothing and returns when it is on disk.
func (s *Store) Commit(ctx context.Context, terms []store.Term, writes []store.Write) error {
	if err := rows.CheckAll(writes); err != nil {
		return err
	}
	return s.update(ctx, func(t *bolt.Tx) error {
		for _, has := range terms {
			newest, err := s.newest(t, has.Scope)
			if err != nil {
				return err
			}
			if newest != has.Number {
				return fmt.Errorf("scope %s, term %d: %w", has.Scope, has.Number, store.ErrFenced)
			}
		}
		return rows.Apply(tx{t}, writes)
	})
}

// newest returns the newest claim of a scope from memory, where the file's only
// writer may keep it.
func (s *Store) newest(t *bolt.Tx, scope string) (uint64, error) {
	if number, known := s.terms[scope]; known {
		return number, nil
	}
	number, err := term(t, scope)
	if err == nil {
		s.terms[scope] = number
	}
	return number, err
}

// update runs f in a write transaction, one at a time.
func (s *Store) update(ctx context.Context, f func(*bolt.Tx) error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Guarded twice: a panic that reaches bbolt makes it walk the file to find its free
	// pages, and it does that in a goroutine of its own.
	return asFull(guarded(func() error {
		return s.db.Update(func(t *bolt.Tx) error {
			return guarded(func() error { return f(t) })
		})
	}))
}

// asFull makes an error that is syscall.ENOSPC of every way in which bbolt says that
// there is no room: it formats some of the system's errors into text.
func asFull(err error) error {
	if err == nil || errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if errors.Is(err, berrors.ErrMaxSizeReached) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

// Close waits for those who read and write, and gives the file free.
func (s *Store) Close() error { return s.db.Close() }

// mapBytes is how much address space the file gets at once. A file that outgrows its
// mapping waits for all readers, of which a backup is a slow one. On Windows, and
// where addresses are short, the mapping grows with the file instead.
func mapBytes() int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return 0
	}
	return 1 << (strconv.IntSize - 30)
}
