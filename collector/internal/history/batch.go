package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// Counts says what became of a batch's samples.
type Counts struct {
	Appended int
	// TooOld were older than the out-of-order window.
	TooOld int
	// Duplicates had a time that the series has already, with another value.
	Duplicates int
}

// Batch is a group of samples that is committed as one. It is not safe for
// concurrent use, and must end in Commit or Rollback.
type Batch struct {
	store    *Store
	current  *generation
	appender storage.Appender
	latest   int64
	counts   Counts
	err      error
}

// Begin starts a batch. When history can't take samples, Append and Commit say why.
func (s *Store) Begin() *Batch {
	b := &Batch{store: s}
	g, err := s.acquire()
	if err != nil {
		b.err = err
		return b
	}
	b.err = s.roomLeft()
	g.setLow(errors.Is(b.err, ErrDiskFull))
	if b.err != nil {
		g.users.Done()
		return b
	}
	b.current = g
	b.latest = time.Now().Add(FutureLimit).UnixMilli()
	// The TSDB does not use the context of an appender.
	b.appender = b.current.db.Appender(context.Background())
	return b
}

// Append adds a sample at a time in milliseconds since 1970. A sample that the
// series has already, or that is older than the window, is counted and is no error,
// so that a batch can be sent again. After ErrNotNumber and ErrFuture the batch can
// go on; after any other error it can't.
func (b *Batch) Append(series *Series, tMillis int64, v float64) error {
	switch {
	case b.err != nil:
		return b.err
	case math.IsNaN(v):
		b.store.metrics.notNumber.Inc()
		return ErrNotNumber
	case tMillis > b.latest:
		b.store.metrics.future.Inc()
		return ErrFuture
	}
	if series.generation != b.current.number {
		series.ref, series.generation = 0, b.current.number
	}
	ref, err := b.appender.Append(series.ref, series.labels, tMillis, v)
	if err != nil {
		return b.refused(err)
	}
	series.ref = ref
	b.counts.Appended++
	return nil
}

func (b *Batch) refused(err error) error {
	switch {
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		b.counts.Duplicates++
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds):
		b.counts.TooOld++
	default:
		b.err = fmt.Errorf("appending a sample: %w", err)
		return b.err
	}
	return nil
}

// Counts returns what became of the samples so far.
func (b *Batch) Counts() Counts { return b.counts }

// Commit makes the batch visible; Sync makes it durable. After an error none of the
// batch may be taken as kept.
func (b *Batch) Commit() error {
	if b.err != nil {
		return errors.Join(b.err, b.Rollback())
	}
	err := b.appender.Commit()
	if err == nil {
		// The TSDB does not say it when its log of out-of-order samples failed.
		err = b.current.wblFailed.check()
	}
	b.end(err)
	if err != nil {
		return fmt.Errorf("committing samples: %w", err)
	}
	b.store.metrics.committed(b.counts)
	return nil
}

// Rollback drops the batch. Series that were new in it stay.
func (b *Batch) Rollback() error {
	if b.appender == nil {
		return nil
	}
	err := b.appender.Rollback()
	b.end(err)
	if err != nil {
		return fmt.Errorf("dropping samples: %w", err)
	}
	return nil
}

// end gives the generation back; a failure to write means that it must end too.
func (b *Batch) end(failure error) {
	if failure != nil {
		b.store.fail(b.current, failure)
	}
	b.current.users.Done()
	b.appender, b.err = nil, errEnded
}

var errEnded = errors.New("the batch has ended")
