package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
)

func testAllOrNothing(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	commit(t, a, put(table, "c", "k", "red x"))
	old, err := a.Claim(t.Context(), "s")
	wantError(t, "claiming", err, nil)
	_, err = b.Claim(t.Context(), "s")
	wantError(t, "claiming again", err, nil)
	err = a.Commit(t.Context(), []store.Term{old}, []store.Write{
		put(table, "c", "k", "blue y"), put(table, "c", "l", "blue y"), remove(table, "c", "k"),
	})
	wantError(t, "a commit with an old term", err, store.ErrFenced)
	equal(t, "rows", scan(t, b, table, "c", store.Range{}), "k=red x")
	equal(t, "index", scanIndex(t, b, table, "word", "c", store.Range{}), "k")
	bad := store.Table{Name: table.Name, Index: func(key string, value []byte) []store.IndexEntry {
		if key == "z" {
			return []store.IndexEntry{{}}
		}
		return table.Index(key, value)
	}}
	err = a.Commit(t.Context(), nil, []store.Write{put(&bad, "c", "k", "green"), put(&bad, "c", "a", "green"), put(&bad, "c", "z", "")})
	if err == nil {
		t.Error("an index entry without a name was taken")
	}
	equal(t, "rows after a bad index entry", scan(t, b, table, "c", store.Range{}), "k=red x")
	equal(t, "index after it", scanIndex(t, b, table, "word", "c", store.Range{}), "k")
}

func testClaims(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := &store.Table{Name: "t"}
	never := store.Term{Scope: "never", Number: 1}
	wantError(t, "a term that nobody claimed", a.Commit(t.Context(), []store.Term{never}, nil), store.ErrFenced)
	first, err := a.Claim(t.Context(), "host-1")
	wantError(t, "claim", err, nil)
	other, err := b.Claim(t.Context(), "host-2")
	wantError(t, "claim of another scope", err, nil)
	w := []store.Write{put(table, "c", "k", "a")}
	wantError(t, "with the claim", a.Commit(t.Context(), []store.Term{first}, w), nil)
	second, err := b.Claim(t.Context(), "host-1")
	wantError(t, "taking over", err, nil)
	if second.Number <= first.Number || second.Scope != first.Scope {
		t.Errorf("%v follows %v", second, first)
	}
	wantError(t, "after the take-over", a.Commit(t.Context(), []store.Term{first}, w), store.ErrFenced)
	wantError(t, "one old term of two", a.Commit(t.Context(), []store.Term{other, first}, w), store.ErrFenced)
	wantError(t, "both new", b.Commit(t.Context(), []store.Term{other, second}, w), nil)
	future := store.Term{Scope: "host-1", Number: second.Number + 1}
	wantError(t, "a term that is not there yet", a.Commit(t.Context(), []store.Term{future}, w), store.ErrFenced)
	wantError(t, "no term at all", a.Commit(t.Context(), nil, w), nil)
}

// testClaimRace has two clients take a scope from each other while they write: what
// each one wrote under a term lies before what was written under a later one.
func testClaimRace(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := &store.Table{Name: "t"}
	var wg sync.WaitGroup
	for _, s := range []store.Store{a, b} {
		wg.Go(func() {
			for range 20 {
				if err := underClaim(t.Context(), s, table); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var got store.TypedRow[uint64]
	var err error
	for got, err = range (store.Typed[uint64]{Table: table}).ScanAll(t.Context(), a) {
		wantError(t, "reading", err, nil)
	}
	term, err := a.Claim(t.Context(), "s")
	wantError(t, "claiming", err, nil)
	if term.Number != 41 || got.Value > 40 {
		t.Errorf("after 40 claims the next is %d and the last writer's %d", term.Number, got.Value)
	}
}

// underClaim writes the number of its term thrice; a smaller one than is there would
// be the write of somebody who was fenced.
func underClaim(ctx context.Context, s store.Store, table *store.Table) error {
	rows := store.Typed[uint64]{Table: table}
	term, err := s.Claim(ctx, "s")
	if err != nil {
		return err
	}
	for range 3 {
		was, err := rows.Get(ctx, s, "c", "term")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		w, err := rows.Put("c", "term", term.Number)
		if err != nil {
			return err
		}
		err = s.Commit(ctx, []store.Term{term}, []store.Write{w})
		if errors.Is(err, store.ErrFenced) {
			return nil
		}
		if err != nil {
			return err
		}
		if was > term.Number {
			return fmt.Errorf("term %d wrote over term %d", term.Number, was)
		}
	}
	return nil
}

func testConcurrent(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	var wg sync.WaitGroup
	for i, s := range []store.Store{a, b, a, b} {
		wg.Go(func() {
			for n := range 50 {
				key := fmt.Sprintf("%d-%02d", i, n)
				err := s.Commit(t.Context(), nil, []store.Write{put(table, "c", key, "w"), put(table, "c", "shared", key)})
				if err != nil {
					t.Error(err)
				}
				for _, err := range s.Scan(t.Context(), table, "c", store.Range{}) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := len(strings.Fields(scan(t, a, table, "c", store.Range{}))); got != 201 {
		t.Errorf("%d rows of 201", got)
	}
}

func testBigBatch(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	var writes []store.Write
	for i := range 20_000 {
		writes = append(writes, put(table, fmt.Sprintf("c%d", i%10), fmt.Sprintf("%08d", i*7919%20_000), strings.Repeat("v", i%100)))
	}
	commit(t, a, writes...)
	count := 0
	for customer, err := range b.Customers(t.Context(), table) {
		wantError(t, "customers", err, nil)
		count += len(strings.Fields(scan(t, b, table, customer, store.Range{})))
	}
	if count != 20_000 {
		t.Errorf("%d rows of 20000", count)
	}
	for i := range writes {
		writes[i].Value = nil
	}
	commit(t, b, writes...)
	equal(t, "all deleted", scan(t, a, table, "c1", store.Range{}), "")
	equal(t, "index", scanIndex(t, a, table, "word", "c1", store.Range{}), "")
}

func testBackup(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	commit(t, a, put(table, "c", "k", "red x"), put(table, "d", "l", "blue"))
	term, err := a.Claim(t.Context(), "s")
	wantError(t, "claim", err, nil)
	var backup bytes.Buffer
	wantError(t, "backup", b.Backup(t.Context(), &backup), nil)
	commit(t, a, put(table, "c", "later", "red"), remove(table, "c", "k"))

	restored := h.Restore(t, &backup)
	equal(t, "rows", scan(t, restored, table, "c", store.Range{}), "k=red x")
	equal(t, "index", scanIndex(t, restored, table, "letter", "c", store.Range{}), "k")
	again, err := restored.Claim(t.Context(), "s")
	wantError(t, "claim after the restore", err, nil)
	if again.Number != term.Number+1 {
		t.Errorf("claim %d follows %d", again.Number, term.Number)
	}
	wantError(t, "a commit after the restore", restored.Commit(t.Context(), []store.Term{again}, []store.Write{put(table, "c", "n", "")}), nil)
	wantError(t, "with a term of before", restored.Commit(t.Context(), []store.Term{term}, nil), store.ErrFenced)
}

// testBackupWhileWriting writes number after number in two tables; a backup holds
// all up to some number, in both.
func testBackupWhileWriting(t *testing.T, h Harness) {
	a, b := h.Open(t)
	one, two := &store.Table{Name: "one"}, &store.Table{Name: "two"}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	started := make(chan struct{})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%08d", i)
			err := a.Commit(t.Context(), nil, []store.Write{put(one, "c", key, ""), put(two, "c", key, strings.Repeat("x", 500))})
			if err != nil {
				t.Error(err)
				return
			}
			if i == 50 {
				close(started)
			}
		}
	})
	<-started
	for range 5 {
		var backup bytes.Buffer
		wantError(t, "backup", b.Backup(t.Context(), &backup), nil)
		restored := h.Restore(t, &backup)
		if n, m := prefix(t, restored, one), prefix(t, restored, two); n != m || n < 50 {
			t.Errorf("a backup after 50 commits holds %d rows of one table and %d of the other", n, m)
		}
	}
	stop()
	wg.Wait()
}

// prefix returns how many rows there are, numbered without a gap.
func prefix(t *testing.T, s store.Store, table *store.Table) (count int) {
	t.Helper()
	for row, err := range s.Scan(t.Context(), table, "c", store.Range{}) {
		wantError(t, "reading a backup", err, nil)
		if row.Key != fmt.Sprintf("%08d", count) {
			t.Fatalf("row %d of a backup is %s", count, row.Key)
		}
		count++
	}
	return count
}

func testTyped(t *testing.T, h Harness) {
	type person struct {
		Name string `json:"name"`
	}
	a, b := h.Open(t)
	table := things()
	people := store.Typed[person]{Table: table}
	for customer, name := range map[string]string{"c": "Ann", "d": "Bob"} {
		w, err := people.Put(customer, "1", person{name})
		wantError(t, "put", err, nil)
		commit(t, a, w)
	}
	got, err := people.Get(t.Context(), b, "c", "1")
	wantError(t, "get", err, nil)
	equal(t, "name", got.Name, "Ann")
	_, err = people.Get(t.Context(), b, "c", "2")
	wantError(t, "not there", err, store.ErrNotFound)
	var all []string
	for row, err := range people.ScanAll(t.Context(), b) {
		wantError(t, "scan", err, nil)
		all = append(all, row.Customer+row.Key+row.Value.Name)
	}
	equal(t, "all", strings.Join(all, " "), "c1Ann d1Bob")
	for row, err := range people.ScanIndex(t.Context(), b, "word", "d", store.Range{}) {
		wantError(t, "index", err, nil)
		equal(t, "by index", row.Value.Name, "Bob")
	}
	commit(t, b, people.Delete("c", "1"), put(table, "c", "0", "no JSON"), put(table, "c", "2", `{"name":"Cid"}`))
	var names, broken []string
	for row, err := range people.Scan(t.Context(), a, "c", store.Range{}) {
		if err != nil {
			broken = append(broken, row.Key)
			continue
		}
		names = append(names, row.Value.Name)
	}
	equal(t, "what decodes", strings.Join(names, " "), "Cid")
	equal(t, "what does not", strings.Join(broken, " "), "0")
	if _, err := (store.Typed[chan int]{Table: table}).Put("c", "k", nil); err == nil {
		t.Error("a channel was encoded")
	}
}

func testClosed(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := &store.Table{Name: "t"}
	commit(t, a, put(table, "c", "k", "v"))
	wantError(t, "closing", a.Close(), nil)
	wantError(t, "closing the other", b.Close(), nil)
	if err := a.Commit(t.Context(), nil, []store.Write{put(table, "c", "k", "w")}); err == nil {
		t.Error("a closed store took a commit")
	}
	if _, err := a.Get(t.Context(), table, "c", "k"); err == nil {
		t.Error("a closed store gave a row")
	}
	if _, err := a.Claim(t.Context(), "s"); err == nil {
		t.Error("a closed store gave a claim")
	}
}
