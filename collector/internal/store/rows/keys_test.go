package rows

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/store"
)

func anyKey() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom([]rune("a\x00\x01\xff")), 0, 4, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 6), func(b []byte) string { return string(b) }),
	)
}

func TestEntriesSortAsTheirKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index1, index2 := anyKey().Draw(t, "index key"), anyKey().Draw(t, "another")
		key1, key2 := anyKey().Draw(t, "key"), anyKey().Draw(t, "another")
		want := strings.Compare(index1, index2)
		if want == 0 {
			want = strings.Compare(key1, key2)
		}
		if got := strings.Compare(entryKey("c", index1, key1), entryKey("c", index2, key2)); got != want {
			t.Fatalf("%q %q sorts %d to %q %q, want %d", index1, key1, got, index2, key2, want)
		}
		if from := rowKey("c", escape(index2)); (entryKey("c", index1, key1) >= from) != (index1 >= index2) {
			t.Fatalf("the bound %q and the entry %q", index2, index1)
		}
		gotIndex, gotKey, ok := splitEntry([]byte(entryKey("c", index1, key1)))
		if !ok || gotIndex != index1 || gotKey != key1 {
			t.Fatalf("%q %q became %q %q", index1, key1, gotIndex, gotKey)
		}
	})
}

func TestSeal(t *testing.T) {
	sealed := Seal("key", []byte("value"))
	if got, err := Unseal([]byte("key"), sealed); err != nil || string(got) != "value" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := Unseal([]byte("kez"), sealed); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("with another key: %v", err)
	}
	for at := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 4
		if _, err := Unseal([]byte("key"), flipped); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
	}
}

func FuzzSplitEntry(f *testing.F) {
	f.Add([]byte(entryKey("c", "in\x00dex", "key")))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, entry []byte) {
		customer, _ := splitRow(entry)
		index, key, ok := splitEntry(entry)
		if ok && entryKey(customer, index, key) != string(entry) {
			t.Errorf("%q became %q %q", entry, index, key)
		}
	})
}
