package history

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/wacht-io/wacht/checks"
)

func openTest(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// now is a whole minute, as ticks are.
func now() int64 { return time.Now().Truncate(time.Minute).UnixMilli() }

var disk = Subject{Customer: "acme", Site: "main", Host: "h1", Check: "disk", Item: "/var"}

func write(t *testing.T, s *Store, series *Series, samples map[int64]float64) Counts {
	t.Helper()
	b := s.Begin()
	for at, v := range samples {
		if err := b.Append(series, at, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return b.Counts()
}

// all returns every sample of the store, by series.
func all(t *testing.T, s *Store) map[string]map[int64]float64 {
	t.Helper()
	got, err := readAll(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readAll(ctx context.Context, s *Store) (map[string]map[int64]float64, error) {
	q, err := s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	got := map[string]map[int64]float64{}
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	for set.Next() {
		samples := map[int64]float64{}
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			samples[at] = v
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
		got[set.At().Labels().String()] = samples
	}
	return got, set.Err()
}

// at is the time of tick i of a writer that began at start; every fifth is two hours
// late, and so out of order.
func at(start int64, i int) int64 {
	if i%5 == 4 {
		return start - 2*3600_000 + int64(i)*1000
	}
	return start + int64(i)*1000
}

func TestSeriesLabels(t *testing.T) {
	of := Subject{Customer: "acme", Site: "main", Host: "h1", Check: "http", Instance: "webshop"}
	s := (*Store)(nil).Series("reply_seconds", of,
		checks.Label{Name: "customer", Value: "other"}, checks.Label{Name: "__name__", Value: "up"},
		checks.Label{Name: "code", Value: "2\xff0"}, checks.Label{Name: "empty"})
	want := `{__name__="wacht_http_reply_seconds", check="http/webshop", code="2` + "\uFFFD" + `0", customer="acme", ` +
		`exported___name__="up", exported_customer="other", host="h1", site="main"}`
	if s.String() != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestAppendIsIdempotentAndKeepsAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	free := s.Series("free_bytes", disk)
	samples := map[int64]float64{now(): 3, now() - 60_000: 2, now() - 2*24*3600_000: 1}
	for range 3 {
		write(t, s, free, samples)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		got := all(t, s)[free.String()]
		if len(got) != 3 || got[now()] != 3 || got[now()-60_000] != 2 || got[now()-2*24*3600_000] != 1 {
			t.Errorf("got %v, want %v", got, samples)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTest(t, dir, Options{}))
}

func TestAppendRefuses(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	series := s.Series("free_bytes", disk)
	b := s.Begin()
	if err := b.Append(series, now(), math.NaN()); !errors.Is(err, ErrNotNumber) {
		t.Errorf("NaN: %v", err)
	}
	far := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	if err := b.Append(series, far, 1); !errors.Is(err, ErrFuture) {
		t.Errorf("2099: %v", err)
	}
	for at, v := range map[int64]float64{now(): 1} {
		if err := b.Append(series, at, v); err != nil {
			t.Errorf("a batch goes on after a refusal: %v", err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := write(t, s, series, map[int64]float64{now() - 5*24*3600_000: 1}); got != (Counts{TooOld: 1}) {
		t.Errorf("older than the window: %+v", got)
	}
	if got := write(t, s, series, map[int64]float64{now(): 2}); got != (Counts{Duplicates: 1}) {
		t.Errorf("same time, other value: %+v", got)
	}
	if err := b.Append(series, now(), 1); err == nil {
		t.Error("a batch that has ended takes no more")
	}
}

func TestFullDiskIsRefusedAndRecovers(t *testing.T) {
	free := uint64(1 << 40)
	s, err := open(t.TempDir(), Options{}, system{freeSpace: func(string) (uint64, error) { return free, nil }, datasync: fileutil.Fdatasync})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	series := s.Series("free_bytes", disk)
	free = 1 << 20
	b := s.Begin()
	if err := b.Append(series, now(), 1); !errors.Is(err, ErrDiskFull) {
		t.Errorf("append: %v", err)
	}
	if err := b.Commit(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("commit: %v", err)
	}
	free = 1 << 40
	write(t, s, series, map[int64]float64{now(): 1})
	if s.current.low.Load() {
		t.Error("compactions are still off")
	}
}

// TestSyncFollowsSegments holds that after a Sync every byte of both logs was synced,
// whichever segments were begun since the last, and that one without news costs none.
func TestSyncFollowsSegments(t *testing.T) {
	synced := map[string]int64{}
	calls := 0
	datasync := func(f *os.File) error {
		info, err := f.Stat()
		if err == nil {
			calls++
			synced[f.Name()] = info.Size()
		}
		return err
	}
	dir := t.TempDir()
	s, err := open(dir, Options{}, system{freeSpace: freeSpace, datasync: datasync, segment: 1 << 17})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	series := hostSeries(s, 60, 100)
	start := now() - 3600_000
	for i := range 40 {
		b := s.Begin()
		for n, one := range series {
			if err := b.Append(one, at(start, i), float64(n*i)*math.Pi); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if i%7 != 6 && i != 39 {
			continue
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		for _, log := range []string{"wal", "wbl"} {
			segments, err := filepath.Glob(filepath.Join(dir, "tsdb", log, "0*"))
			if err != nil || (i == 39 && len(segments) < 3) {
				t.Fatalf("%d segments of %s, %v", len(segments), log, err)
			}
			for _, name := range segments {
				if info, err := os.Stat(name); err != nil || synced[name] != info.Size() {
					t.Errorf("after tick %d: %s has %d bytes, %d are synced", i, name, info.Size(), synced[name])
				}
			}
		}
	}
	before := calls
	if err := s.Sync(); err != nil || calls != before {
		t.Errorf("without news: %v, %d calls", err, calls-before)
	}
}

func TestFullDiskAtOpen(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	datasync := func(f *os.File) error {
		if full.Load() {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return fileutil.Fdatasync(f)
	}
	s, err := open(t.TempDir(), Options{}, system{freeSpace: freeSpace, datasync: datasync})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	series := s.Series("free_bytes", disk)
	b := s.Begin()
	if err := errors.Join(b.Append(series, now(), 1), b.Commit(), s.Sync()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while the disk is full: %v", err)
	}
	full.Store(false)
	s.reopens.Wait()
	write(t, s, series, map[int64]float64{now(): 1})
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
}

func TestFailedSyncWritesAgain(t *testing.T) {
	var broken atomic.Bool
	var mu sync.Mutex
	var synced []string
	datasync := func(f *os.File) error {
		if broken.Load() {
			return errors.New("input/output error")
		}
		mu.Lock()
		defer mu.Unlock()
		synced = append(synced, filepath.Base(f.Name()))
		return fileutil.Fdatasync(f)
	}
	s, err := open(t.TempDir(), Options{}, system{freeSpace: freeSpace, datasync: datasync})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	series := s.Series("free_bytes", disk)
	write(t, s, series, map[int64]float64{now(): 1})
	broken.Store(true)
	if s.Sync() == nil {
		t.Fatal("the sync failed, but Sync gave no error")
	}
	broken.Store(false)
	s.reopens.Wait()
	if got := all(t, s)[series.String()]; got[now()] != 1 {
		t.Errorf("after the reopening: %v", got)
	}
	if want := "00000000" + copySuffix; !slices.Contains(synced, want) {
		t.Errorf("synced %v, want a copy %s of what could not be synced", synced, want)
	}
	write(t, s, series, map[int64]float64{now() + 60_000: 2})
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
}
