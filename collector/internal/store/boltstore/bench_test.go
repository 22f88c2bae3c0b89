package boltstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// BenchmarkCommit commits as the engine does, each with an fsync: some watermarks that
// change in place, and as many transitions that are appended.
func BenchmarkCommit(b *testing.B) {
	watermarks, transitions := &store.Table{Name: "watermarks"}, &store.Table{Name: "transitions"}
	for _, rows := range []int{40, 100, 1000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			s, _, err := boltstore.Open(filepath.Join(b.TempDir(), "store.db"), boltstore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			term, err := s.Claim(b.Context(), "desk")
			if err != nil {
				b.Fatal(err)
			}
			value, sequence := make([]byte, 120), 0
			for b.Loop() {
				writes := make([]store.Write, 0, rows)
				for i := range rows / 2 {
					sequence++
					customer := fmt.Sprintf("customer-%02d", i%20)
					writes = append(writes,
						store.Write{Table: watermarks, Row: store.Row{Customer: customer, Key: fmt.Sprintf("host-%05d", sequence*31%2000), Value: value[:40]}},
						store.Write{Table: transitions, Row: store.Row{Customer: customer, Key: fmt.Sprintf("%016x", sequence), Value: value}})
				}
				if err := s.Commit(b.Context(), []store.Term{term}, writes); err != nil {
					b.Fatal(err)
				}
			}
			perSecond := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(perSecond, "commits/s")
			b.ReportMetric(perSecond*float64(rows), "rows/s")
		})
	}
}

// BenchmarkOpen opens a file of 200,000 rows, all of which are checked.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "store.db")
	s, _, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	table := &store.Table{Name: "t"}
	for batch := range 20 {
		var writes []store.Write
		for i := range 10_000 {
			writes = append(writes, store.Write{Table: table, Row: store.Row{Customer: "c", Key: fmt.Sprintf("%08d", batch*10_000+i), Value: make([]byte, 200)}})
		}
		if err := s.Commit(b.Context(), nil, writes); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, _, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
