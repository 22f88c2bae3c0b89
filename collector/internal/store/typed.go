package store

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// Typed reads and writes the rows of a table as values of T, kept as JSON. T's
// fields carry json tags: what is on the disk outlives a renamed field.
type Typed[T any] struct {
	Table *Table
}

// TypedRow is a row with its value decoded.
type TypedRow[T any] struct {
	Customer string
	Key      string
	Value    T
}

// Put makes the write that stores v.
func (t Typed[T]) Put(customer, key string, v T) (Write, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return Write{}, fmt.Errorf("encoding row %q of table %s: %w", key, t.Table.Name, err)
	}
	w := Write{Table: t.Table, Row: Row{Customer: customer, Key: key, Value: value}}
	return w, w.Check()
}

// Delete makes the write that deletes the row.
func (t Typed[T]) Delete(customer, key string) Write {
	return Write{Table: t.Table, Row: Row{Customer: customer, Key: key}}
}

// Get returns a row's value, or ErrNotFound.
func (t Typed[T]) Get(ctx context.Context, r Reader, customer, key string) (T, error) {
	var v T
	value, err := r.Get(ctx, t.Table, customer, key)
	if err != nil {
		return v, err
	}
	err = t.decode(key, value, &v)
	return v, err
}

// Scan yields a customer's rows in key order.
func (t Typed[T]) Scan(ctx context.Context, r Reader, customer string, in Range) iter.Seq2[TypedRow[T], error] {
	return t.decoded(r.Scan(ctx, t.Table, customer, in))
}

// ScanIndex yields a customer's rows in the order of an index, whose keys in selects.
func (t Typed[T]) ScanIndex(ctx context.Context, r Reader, index, customer string, in Range) iter.Seq2[TypedRow[T], error] {
	return t.decoded(r.ScanIndex(ctx, t.Table, index, customer, in))
}

// ScanAll yields the rows of every customer, customer by customer: for what the
// collector does for all, such as loading its states at start. Pages and the API,
// which serve one customer, use Scan.
func (t Typed[T]) ScanAll(ctx context.Context, r Reader) iter.Seq2[TypedRow[T], error] {
	return func(yield func(TypedRow[T], error) bool) {
		for customer, err := range r.Customers(ctx, t.Table) {
			if err != nil {
				yield(TypedRow[T]{}, err)
				return
			}
			for row, err := range t.Scan(ctx, r, customer, Range{}) {
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// decoded goes on after a row that does not decode: the consumer says whether one
// bad row ends the reading.
func (t Typed[T]) decoded(rows iter.Seq2[Row, error]) iter.Seq2[TypedRow[T], error] {
	return func(yield func(TypedRow[T], error) bool) {
		for row, err := range rows {
			out := TypedRow[T]{Customer: row.Customer, Key: row.Key}
			if err == nil {
				err = t.decode(row.Key, row.Value, &out.Value)
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

func (t Typed[T]) decode(key string, value []byte, v *T) error {
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("decoding row %q of table %s: %w", key, t.Table.Name, err)
	}
	return nil
}
