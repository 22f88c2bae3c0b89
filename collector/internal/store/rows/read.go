package rows

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// One transaction reads at most so much; the first reads less, for who wants one row.
const (
	firstRows  = 16
	chunkRows  = 256
	chunkBytes = 1 << 20
)

// Reader is a store.Reader over transactions.
type Reader struct {
	// View runs f in a read transaction.
	View func(ctx context.Context, f func(Tx) error) error
}

// Get returns a row's value, or store.ErrNotFound.
func (r Reader) Get(ctx context.Context, t *store.Table, customer, key string) (value []byte, err error) {
	if err := checkRead(t, customer); err != nil {
		return nil, err
	}
	err = r.View(ctx, func(tx Tx) error {
		bucket, err := tx.Bucket(t.Name)
		if err != nil || bucket == nil {
			return firstError(err, store.ErrNotFound)
		}
		value, err = get(bucket, []byte(rowKey(customer, key)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("table %s, customer %q, key %q: %w", t.Name, customer, key, err)
	}
	return value, nil
}

func get(bucket Bucket, key []byte) ([]byte, error) {
	sealed := bucket.Get(key)
	if sealed == nil {
		return nil, store.ErrNotFound
	}
	return Unseal(key, sealed)
}

func firstError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func checkRead(t *store.Table, customer string) error {
	if err := store.CheckName(t.Name); err != nil {
		return err
	}
	return store.CheckKey(customer, "")
}

// Scan yields a customer's rows in key order.
func (r Reader) Scan(ctx context.Context, t *store.Table, customer string, in store.Range) iter.Seq2[store.Row, error] {
	bounds := span{low: rowKey(customer, in.From), high: after(customer), reverse: in.Reverse}
	if in.To != "" {
		bounds.high = rowKey(customer, in.To)
	}
	return r.rows(ctx, t, customer, t.Name, bounds, func(_ Tx, k, v []byte) (store.Row, bool, error) {
		_, key := splitRow(k)
		value, err := Unseal(k, v)
		return store.Row{Customer: customer, Key: key, Value: value}, true, err
	})
}

// ScanIndex yields the rows of an index in the order of its keys.
func (r Reader) ScanIndex(ctx context.Context, t *store.Table, index, customer string, in store.Range) iter.Seq2[store.Row, error] {
	bounds := span{low: rowKey(customer, escape(in.From)), high: after(customer), reverse: in.Reverse}
	if in.To != "" {
		bounds.high = rowKey(customer, escape(in.To))
	}
	return r.rows(ctx, t, customer, indexBucket(t.Name, index), bounds, func(tx Tx, k, _ []byte) (store.Row, bool, error) {
		return indexed(tx, t, index, customer, k)
	})
}

// indexed returns the row that an index entry stands for; an entry that the row does
// not have any more is left out.
func indexed(tx Tx, t *store.Table, index, customer string, entry []byte) (store.Row, bool, error) {
	indexKey, key, ok := splitEntry(entry)
	if !ok {
		return store.Row{}, false, fmt.Errorf("index %s: %w", index, store.ErrDamaged)
	}
	bucket, err := tx.Bucket(t.Name)
	if err != nil || bucket == nil {
		return store.Row{}, false, err
	}
	row := []byte(rowKey(customer, key))
	sealed := bucket.Get(row)
	if sealed == nil {
		return store.Row{}, false, nil
	}
	value, err := Unseal(row, sealed)
	if err != nil {
		return store.Row{Customer: customer, Key: key}, true, err
	}
	has := t.Index != nil && slices.Contains(t.Index(key, value), store.IndexEntry{Name: index, Key: indexKey})
	return store.Row{Customer: customer, Key: key, Value: value}, has, nil
}

// span is a range of keys in a bucket, low inclusive to high exclusive.
type span struct {
	low, high string
	reverse   bool
}

// rest is what remains of the span behind a key.
func (s span) rest(key string) span {
	if s.reverse {
		s.high = key
	} else {
		s.low = key + "\x00"
	}
	return s
}

// start puts a cursor at the first key in the span's direction.
func (s span) start(c Cursor) (k, v []byte) {
	if !s.reverse {
		return s.within(c.Seek([]byte(s.low)))
	}
	if k, _ := c.Seek([]byte(s.high)); k == nil {
		return s.within(c.Last())
	}
	return s.within(c.Prev())
}

func (s span) next(c Cursor) (k, v []byte) {
	if s.reverse {
		return s.within(c.Prev())
	}
	return s.within(c.Next())
}

func (s span) within(k, v []byte) (key, value []byte) {
	if k == nil || bytes.Compare(k, []byte(s.low)) < 0 || bytes.Compare(k, []byte(s.high)) >= 0 {
		return nil, nil
	}
	return k, v
}

// found makes a row of what a cursor found; the row is left out when it says false.
type found func(tx Tx, k, v []byte) (store.Row, bool, error)

// result is a row, or the reason why it could not be read.
type result struct {
	row store.Row
	err error
}

// rows reads chunk after chunk, each in a transaction of its own, and yields outside
// of them. A row that cannot be read is yielded as an error, and the rest follows.
func (r Reader) rows(ctx context.Context, t *store.Table, customer, bucket string, in span, f found) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if err := checkRead(t, customer); err != nil {
			yield(store.Row{}, err)
			return
		}
		for limit, more := firstRows, true; more; limit = chunkRows {
			var chunk []result
			var err error
			if chunk, in, more, err = r.chunk(ctx, bucket, in, limit, f); err != nil {
				yield(store.Row{}, fmt.Errorf("table %s, customer %q: %w", t.Name, customer, err))
				return
			}
			for _, got := range chunk {
				if got.err != nil {
					got.err = fmt.Errorf("table %s, customer %q, key %q: %w", t.Name, customer, got.row.Key, got.err)
				}
				if !yield(got.row, got.err) {
					return
				}
			}
		}
	}
}

// chunk reads up to limit keys and returns what is left to read.
func (r Reader) chunk(ctx context.Context, name string, in span, limit int, f found) (out []result, rest span, more bool, err error) {
	err = r.View(ctx, func(tx Tx) error {
		bucket, err := tx.Bucket(name)
		if err != nil || bucket == nil {
			return err
		}
		cursor, size := bucket.Cursor(), 0
		k, v := in.start(cursor)
		for seen := 0; k != nil; seen++ {
			if seen == limit || size >= chunkBytes {
				more = true
				return nil
			}
			row, ok, err := f(tx, k, v)
			if ok || err != nil {
				out, size = append(out, result{row, err}), size+len(row.Value)
			}
			in = in.rest(string(k))
			k, v = in.next(cursor)
		}
		return nil
	})
	return out, in, more, err
}

// Customers yields the customers that have rows in the table, in order.
func (r Reader) Customers(ctx context.Context, t *store.Table) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for from, more := "", true; more; {
			var names []string
			var err error
			if names, from, more, err = r.customers(ctx, t, from); err != nil {
				yield("", fmt.Errorf("table %s: %w", t.Name, err))
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

// customers hops from the first row of a customer to that of the next.
func (r Reader) customers(ctx context.Context, t *store.Table, from string) (names []string, rest string, more bool, err error) {
	err = r.View(ctx, func(tx Tx) error {
		bucket, err := tx.Bucket(t.Name)
		if err != nil || bucket == nil {
			return err
		}
		cursor := bucket.Cursor()
		for k, _ := cursor.Seek([]byte(from)); k != nil; k, _ = cursor.Seek([]byte(from)) {
			if more = len(names) == chunkRows; more {
				return nil
			}
			name, _ := splitRow(k)
			names, from = append(names, name), after(name)
		}
		return nil
	})
	return names, from, more, err
}
