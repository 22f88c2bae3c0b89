package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/store"
)

func testGet(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := &store.Table{Name: "t"}
	_, err := a.Get(t.Context(), table, "c", "k")
	wantError(t, "a table that is not there", err, store.ErrNotFound)
	commit(t, a, put(table, "c", "k", "v"), put(table, "", "", "the MSP's own, without a key"))
	for _, s := range []store.Store{a, b} {
		got, err := s.Get(t.Context(), table, "c", "k")
		wantError(t, "a row that is there", err, nil)
		equal(t, "its value", string(got), "v")
		got, err = s.Get(t.Context(), table, "", "")
		wantError(t, "a row with an empty key", err, nil)
		equal(t, "its value", string(got), "the MSP's own, without a key")
		_, err = s.Get(t.Context(), table, "c", "other")
		wantError(t, "a row that is not there", err, store.ErrNotFound)
	}
}

func testDelete(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	commit(t, a, put(table, "c", "k", "red ab"), put(table, "c", "l", ""))
	commit(t, b, remove(table, "c", "k"), remove(table, "c", "never there"))
	_, err := a.Get(t.Context(), table, "c", "k")
	wantError(t, "a deleted row", err, store.ErrNotFound)
	equal(t, "an empty value is a value", scan(t, a, table, "c", store.Range{}), "l=")
	equal(t, "index of the deleted row", scanIndex(t, a, table, "letter", "c", store.Range{}), "")
	commit(t, a, put(table, "c", "k", "blue"))
	equal(t, "the row again", scan(t, b, table, "c", store.Range{}), "k=blue l=")
}

func testOrder(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := &store.Table{Name: "t"}
	for _, key := range []string{"b", "", "a\x00", "a", "\xff", "a\x00b", "aa", "\xff\xff", "B"} {
		commit(t, a, put(table, "c", key, "."))
	}
	for _, test := range []struct {
		in   store.Range
		want string
	}{
		{store.Range{}, "=. B=. a=. a\x00=. a\x00b=. aa=. b=. \xff=. \xff\xff=."},
		{store.Range{Reverse: true}, "\xff\xff=. \xff=. b=. aa=. a\x00b=. a\x00=. a=. B=. =."},
		{store.Range{From: "a", To: "b"}, "a=. a\x00=. a\x00b=. aa=."},
		{store.Range{From: "a", To: "b", Reverse: true}, "aa=. a\x00b=. a\x00=. a=."},
		{store.Range{From: "c"}, "\xff=. \xff\xff=."},
		{store.Range{To: "a"}, "=. B=."},
		{store.Range{From: "b", To: "a"}, ""},
		{store.Range{From: "b", To: "a", Reverse: true}, ""},
		{store.Prefix("a"), "a=. a\x00=. a\x00b=. aa=."},
		{store.Prefix("\xff"), "\xff=. \xff\xff=."},
		{store.Prefix(""), "=. B=. a=. a\x00=. a\x00b=. aa=. b=. \xff=. \xff\xff=."},
	} {
		equal(t, fmt.Sprintf("%+v", test.in), scan(t, a, table, "c", test.in), test.want)
	}
}

func testLastWriteWins(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := things()
	commit(t, a,
		put(table, "c", "k", "first x"), remove(table, "c", "k"), put(table, "c", "k", "second y"),
		put(table, "c", "gone", "first"), remove(table, "c", "gone"))
	equal(t, "rows", scan(t, a, table, "c", store.Range{}), "k=second y")
	equal(t, "index", scanIndex(t, a, table, "word", "c", store.Range{}), "k")
	equal(t, "index of what was written over", scanIndex(t, a, table, "letter", "c", store.Prefix("x")), "")
}

func testCustomers(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := &store.Table{Name: "t"}
	var want []string
	var writes []store.Write
	for i := range 600 {
		name := fmt.Sprintf("customer-%03d", i)
		want = append(want, name)
		writes = append(writes, put(table, name, "a", ""), put(table, name, "z", ""))
	}
	commit(t, a, writes...)
	commit(t, a, put(table, "", "own", ""), put(table, "customer-0", "a", ""), put(table, "passing", "a", ""))
	commit(t, a, remove(table, "passing", "a"))
	want = append(want, "", "customer-0")
	slices.Sort(want)
	var got []string
	for name, err := range a.Customers(t.Context(), table) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	equal(t, "customers", strings.Join(got, " "), strings.Join(want, " "))
}

func testIsolation(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := things()
	// Names of which one starts the other, and keys that look like a customer's.
	customers := []string{"", "a", "ab", "a\x01", "b", "a\xff"}
	for _, c := range customers {
		commit(t, a, put(table, c, "k", "word of "+c), put(table, c, "a\x00k", "word"))
	}
	for _, c := range customers {
		equal(t, "rows of "+c, scan(t, a, table, c, store.Range{}), "a\x00k=word k=word of "+c)
		equal(t, "rows of "+c+" from the end", scan(t, a, table, c, store.Range{Reverse: true}), "k=word of "+c+" a\x00k=word")
		equal(t, "index of "+c, scanIndex(t, a, table, "word", c, store.Range{}), "a\x00k k")
	}
	equal(t, "rows of nobody", scan(t, a, table, "nobody", store.Range{}), "")
	other := &store.Table{Name: "thing"}
	equal(t, "rows of another table", scan(t, a, other, "a", store.Range{}), "")
	_, err := a.Get(t.Context(), table, "ab", "missing")
	wantError(t, "another customer's key", err, store.ErrNotFound)
}

func testChunks(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := things()
	var writes []store.Write
	for i := range 1500 {
		writes = append(writes, put(table, "c", fmt.Sprintf("%05d", i), fmt.Sprintf("w%d", i%7)))
	}
	commit(t, a, writes...)
	for _, reverse := range []bool{false, true} {
		seen := 0
		for row, err := range a.Scan(t.Context(), table, "c", store.Range{Reverse: reverse}) {
			if err != nil {
				t.Fatal(err)
			}
			want := seen
			if reverse {
				want = 1499 - seen
			}
			if row.Key != fmt.Sprintf("%05d", want) {
				t.Fatalf("reverse %v: row %d is %s", reverse, seen, row.Key)
			}
			seen++
		}
		if seen != 1500 {
			t.Errorf("reverse %v: %d rows of 1500", reverse, seen)
		}
		got := strings.Fields(scanIndex(t, a, table, "word", "c", store.Range{Reverse: reverse}))
		if len(got) != 1500 {
			t.Errorf("reverse %v: %d rows of 1500 by index", reverse, len(got))
		}
	}
	for row, err := range a.Scan(t.Context(), table, "c", store.Range{From: "00700"}) {
		wantError(t, "reading one row", err, nil)
		equal(t, "the first row, then no more", row.Key, "00700")
		break
	}
}

func testScanWhileWriting(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := &store.Table{Name: "t"}
	var writes []store.Write
	for i := range 1000 {
		writes = append(writes, put(table, "c", fmt.Sprintf("%05d", i), "old"))
	}
	commit(t, a, writes...)
	var last string
	seen := 0
	for row, err := range a.Scan(t.Context(), table, "c", store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Key <= last {
			t.Fatalf("%s comes after %s", row.Key, last)
		}
		last = row.Key
		// The consumer itself commits: a scan that held a lock would hang here.
		if seen == 0 {
			commit(t, b, put(table, "c", "00999", "new"), remove(table, "c", "00998"), put(table, "c", "01000", "new"))
		}
		if seen%100 == 0 {
			commit(t, b, put(table, "d", row.Key, "."))
		}
		if row.Key >= "00999" {
			equal(t, "a change behind the place of reading", string(row.Value), "new")
		}
		seen++
	}
	if seen != 1000 || last != "01000" {
		t.Errorf("%d rows, the last %s; want 1000 up to 01000", seen, last)
	}
}

func testIndex(t *testing.T, h Harness) {
	a, b := h.Open(t)
	table := things()
	commit(t, a, put(table, "c", "1", "red ab"), put(table, "c", "2", "blue bc"), put(table, "c", "3", "red"), put(table, "d", "4", "red a"))
	equal(t, "by word", scanIndex(t, b, table, "word", "c", store.Range{}), "2 1 3")
	equal(t, "by word from the end", scanIndex(t, b, table, "word", "c", store.Range{Reverse: true}), "3 1 2")
	equal(t, "red", scanIndex(t, b, table, "word", "c", store.Range{From: "red", To: "red\x00"}), "1 3")
	equal(t, "by letter", scanIndex(t, b, table, "letter", "c", store.Range{}), "1 1 2 2")
	equal(t, "of another customer", scanIndex(t, b, table, "word", "d", store.Range{}), "4")
	commit(t, b, put(table, "c", "1", "green"), remove(table, "c", "2"))
	equal(t, "after a change", scanIndex(t, a, table, "word", "c", store.Range{}), "1 3")
	equal(t, "by letter after a change", scanIndex(t, a, table, "letter", "c", store.Range{}), "")
	equal(t, "an index that is not there", scanIndex(t, a, table, "colour", "c", store.Range{}), "")
}

func testIndexOrder(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := &store.Table{Name: "t", Index: func(_ string, value []byte) []store.IndexEntry {
		return []store.IndexEntry{{Name: "value", Key: string(value)}}
	}}
	values := []string{"", "\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x01", "a\x00\xff", "a\x01", "b", "\xff"}
	for i, value := range values {
		commit(t, a, put(table, "c", fmt.Sprintf("%02d\x00", i), value))
	}
	for from, low := range values {
		for to, high := range values[from:] {
			if high == "" {
				to = len(values)
			} else {
				to += from
			}
			var want []string
			for i := from; i < to; i++ {
				want = append(want, fmt.Sprintf("%02d\x00", i))
			}
			equal(t, fmt.Sprintf("from %q to %q", low, high),
				scanIndex(t, a, table, "value", "c", store.Range{From: low, To: high}), strings.Join(want, " "))
		}
	}
}

// testModel compares a store with a map, whatever is written.
func testModel(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		table := &store.Table{Name: fmt.Sprint("run", run)}
		model := map[string]string{}
		key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 0, 3, -1)
		for range rapid.IntRange(1, 4).Draw(rt, "commits") {
			var writes []store.Write
			for range rapid.IntRange(1, 20).Draw(rt, "writes") {
				k, v := key.Draw(rt, "key"), rapid.StringN(0, 3, -1).Draw(rt, "value")
				if rapid.Bool().Draw(rt, "put") {
					writes, model[k] = append(writes, put(table, "c", k, v)), v
				} else {
					writes = append(writes, remove(table, "c", k))
					delete(model, k)
				}
			}
			commit(t, a, writes...)
		}
		in := store.Range{From: key.Draw(rt, "from"), To: key.Draw(rt, "to"), Reverse: rapid.Bool().Draw(rt, "reverse")}
		var want []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if k >= in.From && (in.To == "" || k < in.To) {
				want = append(want, k+"="+model[k])
			}
		}
		if in.Reverse {
			slices.Reverse(want)
		}
		if got := scan(t, a, table, "c", in); got != strings.Join(want, " ") {
			rt.Fatalf("%+v: got %q, want %q", in, got, want)
		}
	})
}

// testIndexModel compares an index with a look at every row.
func testIndexModel(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		table := things()
		table.Name = fmt.Sprint("run", run)
		model := map[string]string{}
		for range rapid.IntRange(1, 4).Draw(rt, "commits") {
			var writes []store.Write
			for range rapid.IntRange(1, 10).Draw(rt, "writes") {
				k := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 2, -1).Draw(rt, "key")
				v := rapid.StringOfN(rapid.RuneFrom([]rune("xy \x00")), 0, 4, -1).Draw(rt, "value")
				if rapid.IntRange(0, 2).Draw(rt, "put") > 0 {
					writes, model[k] = append(writes, put(table, "c", k, v)), v
				} else {
					writes = append(writes, remove(table, "c", k))
					delete(model, k)
				}
			}
			commit(t, a, writes...)
		}
		for _, index := range []string{"word", "letter"} {
			if got, want := scanIndex(t, a, table, index, "c", store.Range{}), byIndex(table, index, model); got != want {
				rt.Fatalf("index %s of %q: got %q, want %q", index, model, got, want)
			}
		}
	})
}

func byIndex(table *store.Table, index string, model map[string]string) string {
	var found [][2]string
	for k, v := range model {
		for _, e := range table.Index(k, []byte(v)) {
			if e.Name == index && !slices.Contains(found, [2]string{e.Key, k}) {
				found = append(found, [2]string{e.Key, k})
			}
		}
	}
	slices.SortFunc(found, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var keys []string
	for _, f := range found {
		keys = append(keys, f[1])
	}
	return strings.Join(keys, " ")
}

func testLimits(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := &store.Table{Name: "t"}
	long := strings.Repeat("k", store.MaxKeyBytes)
	big := strings.Repeat("v", store.MaxValueBytes)
	commit(t, a, put(table, strings.Repeat("c", store.MaxCustomerBytes), long, big))
	for name, w := range map[string]store.Write{
		"key":              put(table, "c", long+"k", ""),
		"value":            put(table, "c", "k", big+"v"),
		"customer":         put(table, strings.Repeat("c", store.MaxCustomerBytes+1), "k", ""),
		"zero in customer": put(table, "c\x00d", "k", ""),
		"no table":         {Row: store.Row{Key: "k", Value: []byte{}}},
		"table's name":     put(&store.Table{}, "c", "k", ""),
		"zero in table":    put(&store.Table{Name: "t\x00u"}, "c", "k", ""),
		"index key": put(&store.Table{Name: "u", Index: func(string, []byte) []store.IndexEntry {
			return []store.IndexEntry{{Name: "i", Key: long + "k"}}
		}}, "c", "k", ""),
	} {
		if err := a.Commit(t.Context(), nil, []store.Write{put(table, "c", "beside", ""), w}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	equal(t, "nothing of it was written", scan(t, a, table, "c", store.Range{}), "")
	for _, err := range a.Scan(t.Context(), table, "c\x00d", store.Range{}) {
		if err == nil {
			t.Error("a scan of a customer with a zero byte gave rows")
		}
	}
}

func testContext(t *testing.T, h Harness) {
	a, _ := h.Open(t)
	table := &store.Table{Name: "t"}
	commit(t, a, put(table, "c", "k", "v"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Get(ctx, table, "c", "k")
	wantError(t, "get", err, context.Canceled)
	wantError(t, "commit", a.Commit(ctx, nil, []store.Write{remove(table, "c", "k")}), context.Canceled)
	_, err = a.Claim(ctx, "s")
	wantError(t, "claim", err, context.Canceled)
	for _, err := range a.Scan(ctx, table, "c", store.Range{}) {
		wantError(t, "scan", err, context.Canceled)
	}
	for _, err := range a.Customers(ctx, table) {
		wantError(t, "customers", err, context.Canceled)
	}
	equal(t, "nothing was deleted", scan(t, a, table, "c", store.Range{}), "k=v")
}
