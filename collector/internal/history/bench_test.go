package history

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkAppend writes the samples of 200 hosts with 100 series each, tick by
// tick, and syncs after every group.
func BenchmarkAppend(b *testing.B) {
	const group = 4000
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	series := hostSeries(s, 200, 100)
	start := time.Now().Add(-90 * time.Minute).Truncate(time.Minute).UnixMilli()
	at, next, samples := start, 0, 0
	b.ReportAllocs()
	for b.Loop() {
		batch := s.Begin()
		for range group {
			if err := batch.Append(series[next], at, float64(at/1000%977)+float64(next)); err != nil {
				b.Fatal(err)
			}
			if next++; next == len(series) {
				next, at = 0, at+15
			}
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			b.Fatal(err)
		}
		samples += group
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(samples), "ns/sample")
	b.ReportMetric(float64(folderSize(b, filepath.Join(s.data(), "wal")))/float64(samples), "wal-B/sample")
}

func hostSeries(s *Store, hosts, each int) []*Series {
	series := make([]*Series, 0, hosts*each)
	for h := range hosts {
		of := Subject{Customer: fmt.Sprintf("c%02d", h%20), Site: "main", Host: fmt.Sprintf("01HOST%06d", h), Check: "disk"}
		for i := range each {
			of.Item = fmt.Sprintf("/srv/%d", i/5)
			series = append(series, s.Series([]string{"size_bytes", "free_bytes", "free_ratio", "inodes_free_ratio", "readonly"}[i%5], of))
		}
	}
	return series
}

func folderSize(tb testing.TB, dir string) (size int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return size
}

// BenchmarkAppendLate writes what an agent spooled: samples a day old, in order among
// themselves, while newer ones are there.
func BenchmarkAppendLate(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	series := hostSeries(s, 20, 100)
	at := time.Now().Truncate(time.Minute).UnixMilli()
	appendTick(b, s, series, at)
	at -= (26 * time.Hour).Milliseconds()
	samples := 0
	b.ReportAllocs()
	for b.Loop() {
		appendTick(b, s, series, at)
		if err := s.Sync(); err != nil {
			b.Fatal(err)
		}
		at += 1000
		samples += len(series)
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
}

// BenchmarkBlock compacts four hours of a tick a minute and tells what a sample takes
// in a block.
func BenchmarkBlock(b *testing.B) {
	const hosts, each, ticks = 20, 100, 240
	for b.Loop() {
		s, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		series := hostSeries(s, hosts, each)
		at := time.Now().Add(-ticks * time.Minute).Truncate(time.Minute).UnixMilli()
		for range ticks {
			appendTick(b, s, series, at)
			at += 60_000
		}
		out := b.TempDir()
		if err := s.current.db.Snapshot(out, true); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(folderSize(b, out))/(hosts*each*ticks), "block-B/sample")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// appendTick writes one sample of each series; one in ten changed.
func appendTick(b *testing.B, s *Store, series []*Series, at int64) {
	b.Helper()
	batch := s.Begin()
	for i, one := range series {
		v := float64(i) * 1e9
		if i%10 == 0 {
			v += float64(at / 1000 % 1e6 * 4096)
		}
		if err := batch.Append(one, at, v); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Commit(); err != nil {
		b.Fatal(err)
	}
	if c := batch.Counts(); c.Appended != len(series) {
		b.Fatalf("%+v", c)
	}
}
