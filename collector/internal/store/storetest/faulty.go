package storetest

import (
	"context"
	"sync"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Faulty is a store whose commits fail when it is told so.
type Faulty struct {
	store.Store

	mu            sync.Mutex
	before, after []error
}

// FailBefore makes the next commits, one for each error, fail without writing.
func (f *Faulty) FailBefore(errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = append(f.before, errs...)
}

// FailAfter makes the next commits write and then fail, as when a collector dies
// between the disk and its next step.
func (f *Faulty) FailAfter(errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = append(f.after, errs...)
}

// Commit commits, or fails.
func (f *Faulty) Commit(ctx context.Context, terms []store.Term, writes []store.Write) error {
	if err := f.next(&f.before); err != nil {
		return err
	}
	if err := f.Store.Commit(ctx, terms, writes); err != nil {
		return err
	}
	return f.next(&f.after)
}

func (f *Faulty) next(from *[]error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(*from) == 0 {
		return nil
	}
	err := (*from)[0]
	*from = (*from)[1:]
	return err
}
