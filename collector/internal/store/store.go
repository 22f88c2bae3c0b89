// Package store says how the collector keeps what must survive: ordered tables of
// rows keyed by customer and key, changed in one durable commit at a time.
//
// Nothing here knows what a row means. Typed access is in Typed; the
// implementations are memstore (tests), boltstore (the default), and whatever else
// passes storetest.
package store

import (
	"context"
	"errors"
	"io"
	"iter"
)

// ErrFenced says that a commit relied on a claim which somebody else took since.
// Nothing of the commit was written.
var ErrFenced = errors.New("the claim was taken by another collector")

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("not found")

// ErrDamaged says that what is on the disk is not what was written there.
var ErrDamaged = errors.New("the store is damaged")

// Limits of a row; a larger one is refused with an error, and nothing is written.
// MaxKeyBytes goes for the keys of index entries too.
const (
	MaxCustomerBytes = 256
	MaxKeyBytes      = 1024
	MaxValueBytes    = 8 << 20
)

// Table names a kind of row and the other orders in which its rows are found.
// Tables are created at first use.
type Table struct {
	Name string
	// Index gives the row's index entries, or is nil. The entries are kept with the
	// row: changed and deleted in the same commit. It must answer the same for the
	// same row always; a new order of finding rows is a new index name, and holds the
	// rows that were written since.
	Index func(key string, value []byte) []IndexEntry
}

// IndexEntry puts a row under Key in the index called Name. Rows with the same Key
// are ordered by their own key.
type IndexEntry struct {
	Name, Key string
}

// Row is what is kept. Key is any bytes; rows are ordered by it, bytewise. Customer
// is any text without a zero byte.
type Row struct {
	Customer string
	Key      string
	Value    []byte
}

// Write is one change: a row put, or deleted when Value is nil.
type Write struct {
	Table *Table
	Row
}

// Term is a claim as one holder has it: Number rises each time a scope is claimed.
type Term struct {
	Scope  string
	Number uint64
}

// Range selects keys: From inclusive to To exclusive, "" meaning no bound;
// Reverse goes from the last to the first.
type Range struct {
	From, To string
	Reverse  bool
}

// Prefix is the range of all keys that start with prefix.
func Prefix(prefix string) Range {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) > 0 {
		end[len(end)-1]++
	}
	return Range{From: prefix, To: string(end)}
}

// Reader reads rows. The customer is an argument of every call: there is no way to
// read across customers by leaving it out. The MSP's own rows have customer "".
type Reader interface {
	// Get returns a row's value, or ErrNotFound.
	Get(ctx context.Context, t *Table, customer, key string) ([]byte, error)
	// Scan yields a customer's rows in key order. It reads in short transactions, so
	// a slow consumer holds nothing up and sees changes made meanwhile.
	Scan(ctx context.Context, t *Table, customer string, r Range) iter.Seq2[Row, error]
	// ScanIndex yields the rows of an index in the order of its keys, which r selects.
	ScanIndex(ctx context.Context, t *Table, index, customer string, r Range) iter.Seq2[Row, error]
	// Customers yields the customers that have rows in the table, in order.
	Customers(ctx context.Context, t *Table) iter.Seq2[string, error]
}

// Store keeps rows. It is safe for concurrent use.
type Store interface {
	Reader
	// Claim takes a scope over from whoever had it, durably.
	Claim(ctx context.Context, scope string) (Term, error)
	// Commit writes everything or nothing, in order, and returns when it is on disk.
	// It answers ErrFenced when one of the terms is no longer the newest of its scope,
	// and an error that is syscall.ENOSPC when the disk is full; the store goes on
	// working then, and commits again when there is room. After any other error of
	// the disk the writes may or may not be there: put them again.
	Commit(ctx context.Context, terms []Term, writes []Write) error
	// Backup writes a copy as of one moment, while commits go on.
	Backup(ctx context.Context, w io.Writer) error
	Close() error
}
