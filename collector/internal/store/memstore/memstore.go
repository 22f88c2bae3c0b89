// Package memstore keeps the collector's rows in memory: for tests, and for looking
// at a backup. It is a store in every respect but one: it ends with the process.
package memstore

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/rows"
)

var errClosed = errors.New("the store is closed")

// Store is a store.Store in memory.
type Store struct {
	rows.Reader

	mu      sync.RWMutex
	buckets map[string]*bucket
	terms   map[string]uint64
	closed  bool
}

// New returns an empty store.
func New() *Store {
	s := &Store{buckets: map[string]*bucket{}, terms: map[string]uint64{}}
	s.Reader = rows.Reader{View: s.view}
	return s
}

func (s *Store) view(ctx context.Context, f func(rows.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	return f(&tx{store: s})
}

// Claim takes a scope over from whoever had it.
func (s *Store) Claim(ctx context.Context, scope string) (store.Term, error) {
	if err := ctx.Err(); err != nil {
		return store.Term{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Term{}, errClosed
	}
	s.terms[scope]++
	return store.Term{Scope: scope, Number: s.terms[scope]}, nil
}

// Commit writes everything or nothing.
func (s *Store) Commit(ctx context.Context, terms []store.Term, writes []store.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rows.CheckAll(writes); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	for _, term := range terms {
		if s.terms[term.Scope] != term.Number {
			return fmt.Errorf("scope %s, term %d: %w", term.Scope, term.Number, store.ErrFenced)
		}
	}
	t := &tx{store: s, writes: true}
	if err := rows.Apply(t, writes); err != nil {
		t.undo()
		return err
	}
	return nil
}

// snapshot is the form of a backup.
type snapshot struct {
	Buckets map[string]map[string][]byte
	Terms   map[string]uint64
}

// Backup writes a copy as of one moment.
func (s *Store) Backup(_ context.Context, w io.Writer) error {
	s.mu.RLock()
	copied := snapshot{Buckets: map[string]map[string][]byte{}, Terms: maps.Clone(s.terms)}
	for name, b := range s.buckets {
		copied.Buckets[name] = maps.Clone(b.values)
	}
	s.mu.RUnlock()
	if err := gob.NewEncoder(w).Encode(copied); err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	return nil
}

// Restore returns a store with what a backup holds.
func Restore(r io.Reader) (*Store, error) {
	var from snapshot
	if err := gob.NewDecoder(r).Decode(&from); err != nil {
		return nil, fmt.Errorf("reading a backup: %w", err)
	}
	s := New()
	if from.Terms != nil {
		s.terms = from.Terms
	}
	for name, values := range from.Buckets {
		s.buckets[name] = &bucket{keys: slices.Sorted(maps.Keys(values)), values: values}
	}
	return s, nil
}

// Close ends the use of the store; what is in it is lost.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
