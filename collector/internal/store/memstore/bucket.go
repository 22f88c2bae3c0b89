package memstore

import (
	"slices"

	"github.com/wacht-io/wacht/collector/internal/store/rows"
)

// tx is a transaction under the store's lock; when it writes it remembers how to take
// back what it did.
type tx struct {
	store  *Store
	writes bool
	undos  []func()
}

func (t *tx) Bucket(name string) (rows.Bucket, error) {
	b := t.store.buckets[name]
	if b == nil {
		if !t.writes {
			return nil, nil
		}
		b = &bucket{values: map[string][]byte{}}
		t.store.buckets[name] = b
	}
	return view{b, t}, nil
}

func (t *tx) undo() {
	for _, undo := range slices.Backward(t.undos) {
		undo()
	}
}

// bucket is an ordered map: the keys sorted, the values by key. Values are replaced,
// never changed.
type bucket struct {
	keys   []string
	values map[string][]byte
}

func (b *bucket) set(key string, value []byte) {
	if _, there := b.values[key]; !there {
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Insert(b.keys, i, key)
	}
	b.values[key] = value
}

func (b *bucket) remove(key string) {
	if _, there := b.values[key]; there {
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Delete(b.keys, i, i+1)
		delete(b.values, key)
	}
}

// view is a bucket as one transaction uses it.
type view struct {
	*bucket
	tx *tx
}

func (v view) Get(key []byte) []byte { return v.values[string(key)] }

func (v view) Put(key, value []byte) error {
	v.remember(string(key))
	v.set(string(key), value)
	return nil
}

func (v view) Delete(key []byte) error {
	v.remember(string(key))
	v.remove(string(key))
	return nil
}

func (v view) remember(key string) {
	was, there := v.values[key]
	v.tx.undos = append(v.tx.undos, func() {
		if there {
			v.set(key, was)
		} else {
			v.remove(key)
		}
	})
}

func (v view) Cursor() rows.Cursor { return &cursor{bucket: v.bucket} }

type cursor struct {
	bucket *bucket
	at     int
}

func (c *cursor) Seek(key []byte) (k, v []byte) {
	c.at, _ = slices.BinarySearch(c.bucket.keys, string(key))
	return c.here()
}

func (c *cursor) Last() (k, v []byte) {
	c.at = len(c.bucket.keys) - 1
	return c.here()
}

func (c *cursor) Next() (k, v []byte) {
	c.at++
	return c.here()
}

func (c *cursor) Prev() (k, v []byte) {
	c.at--
	return c.here()
}

func (c *cursor) here() (k, v []byte) {
	if c.at < 0 || c.at >= len(c.bucket.keys) {
		return nil, nil
	}
	key := c.bucket.keys[c.at]
	return []byte(key), c.bucket.values[key]
}
