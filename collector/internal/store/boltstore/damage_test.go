package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// sampleTable has an index, so that a sample holds buckets of several sizes.
func sampleTable() *store.Table {
	return &store.Table{Name: "sample", Index: func(_ string, value []byte) []store.IndexEntry {
		return []store.IndexEntry{{Name: "first", Key: string(value[:1])}}
	}}
}

// sample makes a file with branch pages, overflow pages, inline buckets and free pages.
func sample(t testing.TB) (file []byte, rows map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.db")
	s, _, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]string{}
	table, small := sampleTable(), &store.Table{Name: "small"}
	for round := range 4 {
		var writes []store.Write
		for i := range 150 {
			key, value := fmt.Sprintf("%03d", i*7%150), strings.Repeat(string(rune('a'+i%26)), 10+(i%50/49)*6000+round)
			writes = append(writes, store.Write{Table: table, Row: store.Row{Customer: "c", Key: key, Value: []byte(value)}})
			rows["sample "+key] = value
		}
		writes = append(writes, store.Write{Table: small, Row: store.Row{Customer: "d", Key: "k", Value: []byte("v")}})
		rows["small k"] = "v"
		if err := s.Commit(t.Context(), nil, writes); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Claim(t.Context(), "scope"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, rows
}

// contents reads all rows of a sample; rows that cannot be read are errors.
func contents(t testing.TB, s *boltstore.Store) (map[string]string, []error) {
	t.Helper()
	out := map[string]string{}
	var errs []error
	read := func(table *store.Table, customer string) {
		for row, err := range s.Scan(t.Context(), table, customer, store.Range{}) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out[table.Name+" "+row.Key] = string(row.Value)
		}
	}
	read(sampleTable(), "c")
	read(&store.Table{Name: "small"}, "d")
	for _, err := range s.ScanIndex(t.Context(), sampleTable(), "first", "c", store.Range{}) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return out, errs
}

// TestBitFlips flips bits on every page. Each time the process lives, what is read is
// what was written, and what is missing was reported.
func TestBitFlips(t *testing.T) {
	random := seed(t)
	file, rows := sample(t)
	const page = 4096
	reported, salvaged := 0, 0
	for start := 0; start < len(file); start += page {
		if !bytes.ContainsFunc(file[start:start+page], func(r rune) bool { return r != 0 }) {
			continue // never used: bbolt grows the file ahead
		}
		for try := range 4 {
			// The start of a page decides most.
			at := start + random.IntN([]int{16, 64, page, page}[try])
			flipped := bytes.Clone(file)
			flipped[at] ^= 1 << random.IntN(8)
			found, kept := wantSurvival(t, fmt.Sprintf("byte %d", at), flipped, rows)
			reported += found
			salvaged += kept
		}
	}
	t.Logf("%d flips of %d bytes were reported, with %d rows carried over", reported, len(file), salvaged)
	if reported < 20 {
		t.Error("hardly any flip was found")
	}
}

// wantSurvival opens a file that may be damaged; it returns 1 when the damage was
// reported, and the number of rows that were kept then.
func wantSurvival(t *testing.T, what string, file []byte, rows map[string]string) (reported, kept int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, report, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		var damage *boltstore.DamageError
		if !errors.As(err, &damage) || !errors.Is(err, store.ErrDamaged) || damage.Damages == 0 {
			t.Fatalf("%s: %v", what, err)
		}
		if s, report, err = boltstore.Open(path, boltstore.Options{SetAside: true}); err != nil {
			t.Fatalf("%s, setting aside: %v", what, err)
		}
		aside, err := os.ReadFile(report.SetAside)
		if err != nil || !bytes.Equal(aside, file) || report.Damages != damage.Damages {
			t.Fatalf("%s: what was set aside is not the file: %+v %v", what, report, err)
		}
		reported = 1
	}
	defer func() { _ = s.Close() }()
	got, errs := contents(t, s)
	for key, value := range got {
		if rows[key] != value {
			t.Errorf("%s: row %s is not what was written", what, key)
		}
	}
	if missing := len(rows) - len(got); reported == 0 && !report.OneHeader && missing > 0 || len(errs) > 0 {
		t.Errorf("%s: %d rows are missing without a report, errors %v", what, missing, errs)
	}
	if err := s.Commit(t.Context(), nil, numberWrites(1)); err != nil {
		t.Errorf("%s: a commit afterwards: %v", what, err)
	}
	return reported, report.Rows * reported
}

func TestDamagedFiles(t *testing.T) {
	file, rows := sample(t)
	zeroed := bytes.Clone(file)
	clear(zeroed[:8192])
	for name, damaged := range map[string][]byte{
		"no store at all": []byte(strings.Repeat("not a database\n", 1000)),
		"a few bytes":     []byte("x"),
		"one page":        file[:4096],
		"cut in half":     file[:len(file)/2],
		"cut by a byte":   file[:len(file)-1],
		"zeroes":          make([]byte, 65536),
		"no headers":      zeroed,
	} {
		t.Run(name, func(t *testing.T) { wantSurvival(t, name, damaged, rows) })
	}
}

func TestSetAside(t *testing.T) {
	file, _ := sample(t)
	at := bytes.LastIndex(file, []byte("bbbbbbbbbbbbb"))
	file[at] ^= 1
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	_, _, err := boltstore.Open(path, boltstore.Options{})
	if err == nil || !strings.Contains(err.Error(), path+" is damaged: ") {
		t.Fatalf("without leave: %v", err)
	}
	s, report, err := boltstore.Open(path, boltstore.Options{SetAside: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if report.SetAside != path+".damaged-20260102T030405.000Z" || report.Damages != 1 || len(report.Findings) != 1 {
		t.Errorf("%+v", report)
	}
	// The claim counts on: a term of before is not given twice.
	term, err := s.Claim(t.Context(), "scope")
	if err != nil || term.Number != 2 {
		t.Errorf("the claim after the damage is %v (%v)", term, err)
	}
	if _, err := os.Stat(path + ".saved"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left over: %v", err)
	}
}

func TestOneTornHeader(t *testing.T) {
	file, rows := sample(t)
	for _, page := range []int{0, 4096} {
		torn := bytes.Clone(file)
		clear(torn[page : page+4096])
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s, report, err := boltstore.Open(path, boltstore.Options{})
		if err != nil || !report.OneHeader {
			t.Fatalf("header at %d torn: %+v %v", page, report, err)
		}
		// The sample's last commit was a claim, which no row tells of.
		if got, errs := contents(t, s); len(got) != len(rows) || len(errs) > 0 {
			t.Errorf("header at %d torn: %d rows of %d, %v", page, len(got), len(rows), errs)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzOpen opens any bytes: the process lives, and rows that are read without an
// error are whole.
func FuzzOpen(f *testing.F) {
	file, rows := sample(f)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096*5+10), []byte{0xff, 0xff})
	f.Add(uint32(4096*3), file[4096*4:4096*5])
	f.Add(uint32(1<<31), []byte("x"))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		changed := bytes.Clone(file)
		if int(at) < len(changed) {
			copy(changed[at:], patch)
		} else {
			changed = patch
		}
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := boltstore.Open(path, boltstore.Options{SetAside: true})
		if err != nil {
			return
		}
		defer func() { _ = s.Close() }()
		got, _ := contents(t, s)
		for key, value := range got {
			if was, known := rows[key]; known && len(patch) < 4 && was != value {
				t.Errorf("row %s is not what was written", key)
			}
		}
	})
}
