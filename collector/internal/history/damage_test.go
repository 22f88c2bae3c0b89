package history

import (
	"bytes"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/wacht-io/wacht/checks"
)

// fillForDamage makes a history with a block, both logs and a segment in each that
// an earlier process wrote, and returns its folder.
func fillForDamage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	makeBlock(t, filepath.Join(dir, "tsdb"))
	for round := range 2 {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		samples := map[int64]float64{}
		for i := range 300 {
			samples[now()-int64(round*7200+i)*1000] = float64(i)
		}
		for item := range strings.SplitSeq("abcdefghij", "") {
			write(t, s, s.Series("free_bytes", disk, checks.Label{Name: "part", Value: item}), samples)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func makeBlock(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, tsdb.DefaultBlockDuration)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	app := w.Appender(t.Context())
	for i := range 100 {
		at := now() - 26*3600_000 + int64(i)*60_000
		if _, err := app.Append(0, labels.FromStrings("__name__", "old", "customer", "acme"), at, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func filesOf(t *testing.T, dir, part string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "tsdb"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, part) {
			if info, err := d.Info(); err != nil || info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no file of %s: %v", part, err)
	}
	return files
}

func TestDamagedBlockIsSetAside(t *testing.T) {
	for what, harm := range map[string]func(path string) error{
		"index":     func(path string) error { return os.Truncate(path, 10) },
		"meta.json": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := fillForDamage(t)
			if err := harm(filesOf(t, dir, what)[0]); err != nil {
				t.Fatal(err)
			}
			r := prometheus.NewRegistry()
			s := openTest(t, dir, Options{Registerer: r})
			if len(s.Damage()) != 1 || !strings.HasPrefix(s.Damage()[0].What, "block ") {
				t.Fatalf("damage: %+v", s.Damage())
			}
			if _, err := os.Stat(filepath.Join(s.Damage()[0].Kept, what)); err != nil {
				t.Errorf("the block was not kept: %v", err)
			}
			if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP wacht_history_damaged_total Blocks and logs of history that could not be read and were set aside.
# TYPE wacht_history_damaged_total counter
wacht_history_damaged_total 1
`), "wacht_history_damaged_total"); err != nil {
				t.Error(err)
			}
			if got := all(t, s); len(got) != 10 {
				t.Errorf("%d series are left, want the 10 of the logs", len(got))
			}
			write(t, s, s.Series("free_bytes", disk), map[int64]float64{now(): 1})
		})
	}
}

func TestDamagedLogIsRepairedAndKept(t *testing.T) {
	dir := fillForDamage(t)
	wal := filesOf(t, dir, "wal/00000000")[0]
	data, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(wal, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir, Options{})
	if len(s.Damage()) != 1 || s.Damage()[0].What != "logs" {
		t.Fatalf("damage: %+v", s.Damage())
	}
	kept, err := os.ReadFile(filepath.Join(s.Damage()[0].Kept, "wal", "00000000"))
	if err != nil || !bytes.Equal(kept, data) {
		t.Errorf("the damaged segment was not kept as it was: %v", err)
	}
	if got := all(t, s); len(got) == 0 {
		t.Error("nothing is left")
	}
	write(t, s, s.Series("free_bytes", disk), map[int64]float64{now(): 1})
}

// TestAnyDamageIsSurvived turns bits of any file, or cuts it, and then opens, reads
// and writes.
func TestAnyDamageIsSurvived(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 8 {
		dir := fillForDamage(t)
		files := filesOf(t, dir, "")
		path := files[random.IntN(len(files))]
		harm(t, random, path)
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		write(t, s, s.Series("used_bytes", disk), map[int64]float64{now(): 1})
		if err := s.Sync(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		// What is damaged within a block shows when it is read.
		if _, err := readAll(t.Context(), s); err != nil {
			t.Logf("%s: reading: %v", path, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func harm(t *testing.T, random *rand.Rand, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if random.IntN(4) == 0 {
		data = data[:random.IntN(len(data))]
	} else {
		data[random.IntN(min(len(data), 4096))] ^= 1 << random.IntN(8)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHealthyOpenLeavesNothingAside(t *testing.T) {
	dir := fillForDamage(t)
	s := openTest(t, dir, Options{})
	if s.Damage() != nil {
		t.Errorf("damage: %+v", s.Damage())
	}
	if _, err := os.Stat(filepath.Join(dir, "damaged")); !os.IsNotExist(err) {
		t.Errorf("damaged: %v", err)
	}
}

func TestSecondProcessIsRefusedWithoutHarm(t *testing.T) {
	dir := fillForDamage(t)
	openTest(t, dir, Options{})
	if s, err := Open(dir, Options{}); err == nil {
		s.Close()
		t.Fatal("opened twice")
	}
	if _, err := os.Stat(filepath.Join(dir, "damaged")); !os.IsNotExist(err) {
		t.Errorf("damaged: %v", err)
	}
}

// TestFailureTap holds that the counter exists under its name, and that a failure of
// the log of out-of-order samples shows.
func TestFailureTap(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	if s.current.wblFailed.counter == nil {
		t.Fatal("the TSDB has no such counter any more")
	}
	tap := &failureTap{Registerer: prometheus.NewRegistry(), name: "log_writes_failed_total"}
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "writes_failed_total", Help: "h"})
	prometheus.WrapRegistererWithPrefix("log_", tap).MustRegister(c)
	if err := tap.check(); err != nil {
		t.Errorf("before: %v", err)
	}
	c.Inc()
	if tap.check() == nil {
		t.Error("the failure does not show")
	}
}
