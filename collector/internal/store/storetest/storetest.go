// Package storetest is what every store must do: the conformance suite, and a store
// that fails when it is told to.
package storetest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Harness makes stores of one implementation.
type Harness struct {
	// Open returns two clients of one fresh, empty store; they may be the same one
	// where only one process can have a store. The harness closes them.
	Open func(t *testing.T) (a, b store.Store)
	// Restore returns a store made of a backup.
	Restore func(t *testing.T, backup io.Reader) store.Store
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(t *testing.T, h Harness){
		"Get":                testGet,
		"Delete":             testDelete,
		"Order":              testOrder,
		"LastWriteWins":      testLastWriteWins,
		"Customers":          testCustomers,
		"Isolation":          testIsolation,
		"Chunks":             testChunks,
		"ScanWhileWriting":   testScanWhileWriting,
		"Index":              testIndex,
		"IndexOrder":         testIndexOrder,
		"IndexModel":         testIndexModel,
		"Model":              testModel,
		"Limits":             testLimits,
		"AllOrNothing":       testAllOrNothing,
		"Claims":             testClaims,
		"ClaimRace":          testClaimRace,
		"Concurrent":         testConcurrent,
		"BigBatch":           testBigBatch,
		"Context":            testContext,
		"Backup":             testBackup,
		"BackupWhileWriting": testBackupWhileWriting,
		"Typed":              testTyped,
		"Closed":             testClosed,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

// things is a table with two indexes: by the word before the first blank of the
// value, and by every letter of it.
func things() *store.Table {
	return &store.Table{Name: "things", Index: func(_ string, value []byte) []store.IndexEntry {
		word, rest, _ := strings.Cut(string(value), " ")
		out := []store.IndexEntry{{Name: "word", Key: word}}
		for _, letter := range rest {
			out = append(out, store.IndexEntry{Name: "letter", Key: string(letter)})
		}
		return out
	}}
}

func put(table *store.Table, customer, key, value string) store.Write {
	return store.Write{Table: table, Row: store.Row{Customer: customer, Key: key, Value: []byte(value)}}
}

func remove(table *store.Table, customer, key string) store.Write {
	return store.Write{Table: table, Row: store.Row{Customer: customer, Key: key}}
}

func commit(t *testing.T, s store.Store, writes ...store.Write) {
	t.Helper()
	if err := s.Commit(t.Context(), nil, writes); err != nil {
		t.Fatalf("committing %d writes: %v", len(writes), err)
	}
}

// scan returns a customer's rows as key=value, joined by blanks.
func scan(t *testing.T, r store.Reader, table *store.Table, customer string, in store.Range) string {
	t.Helper()
	var out []string
	for row, err := range r.Scan(t.Context(), table, customer, in) {
		if err != nil {
			t.Fatalf("scanning: %v", err)
		}
		if row.Customer != customer {
			t.Fatalf("a scan of customer %q gave a row of %q", customer, row.Customer)
		}
		out = append(out, fmt.Sprintf("%s=%s", row.Key, row.Value))
	}
	return strings.Join(out, " ")
}

func scanIndex(t *testing.T, r store.Reader, table *store.Table, index, customer string, in store.Range) string {
	t.Helper()
	var out []string
	for row, err := range r.ScanIndex(t.Context(), table, index, customer, in) {
		if err != nil {
			t.Fatalf("scanning index %s: %v", index, err)
		}
		if row.Customer != customer {
			t.Fatalf("a scan of customer %q gave a row of %q", customer, row.Customer)
		}
		out = append(out, row.Key)
	}
	return strings.Join(out, " ")
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}
