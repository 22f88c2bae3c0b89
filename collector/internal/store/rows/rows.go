// Package rows lays the tables of package store out over ordered buckets of bytes,
// so that every store which has such buckets orders, isolates, indexes and checks
// rows the same.
package rows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Tx is what one transaction sees.
type Tx interface {
	// Bucket returns an ordered map by name, or nil when there is none and the
	// transaction does not write.
	Bucket(name string) (Bucket, error)
}

// Bucket is an ordered map. What Get returns is valid until the transaction ends.
type Bucket interface {
	Get(key []byte) []byte
	Put(key, value []byte) error
	Delete(key []byte) error
	Cursor() Cursor
}

// Cursor walks a bucket in the order of its keys; a nil key is the end.
type Cursor interface {
	// Seek goes to the first key that is not before key.
	Seek(key []byte) (k, v []byte)
	Last() (k, v []byte)
	Next() (k, v []byte)
	Prev() (k, v []byte)
}

// CheckAll checks every write, so that a commit fails before anything is touched.
func CheckAll(writes []store.Write) error {
	for i := range writes {
		if err := writes[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// Apply makes the writes, of which the last one of a row counts, in the order of
// their keys: an ordered store then touches each page once.
func Apply(tx Tx, writes []store.Write) error {
	var entries []entry
	for _, w := range ordered(writes) {
		changed, err := applyRow(tx, w)
		if err != nil {
			return fmt.Errorf("table %s: %w", w.Table.Name, err)
		}
		entries = append(entries, changed...)
	}
	return applyEntries(tx, entries)
}

// ordered returns the writes sorted by table, customer and key, one of each row.
func ordered(writes []store.Write) []store.Write {
	sorted := slices.Clone(writes)
	slices.SortStableFunc(sorted, func(a, b store.Write) int {
		return cmp.Or(strings.Compare(a.Table.Name, b.Table.Name),
			strings.Compare(a.Customer, b.Customer), strings.Compare(a.Key, b.Key))
	})
	out := sorted[:0]
	for _, w := range sorted {
		if n := len(out); n > 0 && sameRow(out[n-1], w) {
			out[n-1] = w
			continue
		}
		out = append(out, w)
	}
	return out
}

func sameRow(a, b store.Write) bool {
	return a.Key == b.Key && a.Customer == b.Customer && a.Table.Name == b.Table.Name
}

// applyRow puts or deletes a row and returns the index entries that change with it.
func applyRow(tx Tx, w store.Write) ([]entry, error) {
	bucket, err := tx.Bucket(w.Table.Name)
	if err != nil {
		return nil, err
	}
	key := rowKey(w.Customer, w.Key)
	entries, err := changedEntries(bucket, []byte(key), w)
	if err != nil {
		return nil, err
	}
	if w.Value == nil {
		return entries, bucket.Delete([]byte(key))
	}
	return entries, bucket.Put([]byte(key), Seal(key, w.Value))
}

// entry is an index entry to put, or to delete.
type entry struct {
	bucket, key string
	gone        bool
}

func changedEntries(bucket Bucket, key []byte, w store.Write) ([]entry, error) {
	if w.Table.Index == nil {
		return nil, nil
	}
	was := map[entry]bool{}
	if sealed := bucket.Get(key); sealed != nil {
		// A damaged row is written over; its entries lead nowhere and are not shown.
		if value, err := Unseal(key, sealed); err == nil {
			for _, e := range w.Table.Index(w.Key, value) {
				was[newEntry(w, e)] = true
			}
		}
	}
	var out []entry
	if w.Value != nil {
		for _, e := range w.Table.Index(w.Key, w.Value) {
			if err := checkEntry(e); err != nil {
				return nil, err
			}
			// Put also when it was there: that heals an entry that was lost.
			made := newEntry(w, e)
			delete(was, made)
			out = append(out, made)
		}
	}
	for e := range was {
		e.gone = true
		out = append(out, e)
	}
	return out, nil
}

func newEntry(w store.Write, e store.IndexEntry) entry {
	return entry{bucket: indexBucket(w.Table.Name, e.Name), key: entryKey(w.Customer, e.Key, w.Key)}
}

func checkEntry(e store.IndexEntry) error {
	if err := store.CheckName(e.Name); err != nil {
		return err
	}
	if len(e.Key) > store.MaxKeyBytes {
		return fmt.Errorf("index %s: key %.40q … has %d bytes, more than %d", e.Name, e.Key, len(e.Key), store.MaxKeyBytes)
	}
	return nil
}

func applyEntries(tx Tx, entries []entry) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.bucket, b.bucket), strings.Compare(a.key, b.key))
	})
	for _, e := range entries {
		bucket, err := tx.Bucket(e.bucket)
		if err != nil {
			return err
		}
		if e.gone {
			err = bucket.Delete([]byte(e.key))
		} else {
			err = bucket.Put([]byte(e.key), Seal(e.key, nil))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
