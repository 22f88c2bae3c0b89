//go:build unix

package history

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"
)

// TestFailedWriteReopens lets a process' files reach a size limit, which is a write
// that fails as on a full disk, and lifts it again.
func TestFailedWriteReopens(t *testing.T) {
	out, err := helper(t, "limited", t.TempDir()).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if string(out) != "failed\nreopened\nall there\n" {
		t.Errorf("got %q", out)
	}
}

func writeBeyondLimit(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(dir, Options{})
	must(err)
	defer s.Close()
	// Every second series is late, so that both logs grow.
	var series []*Series
	for i := range 2000 {
		of := disk
		of.Item = fmt.Sprint(i)
		series = append(series, s.Series("free_bytes", of))
	}
	start, kept := now()-3600_000, 0
	must(tick(s, series, start, kept))
	must(s.Sync())
	kept++
	setLimit(1 << 19)
	for err == nil {
		if err = tick(s, series, start, kept); err == nil {
			err = s.Sync()
		}
		if err == nil {
			kept++
		}
	}
	fmt.Println("failed")
	if err := tick(s, series, start, kept); !errors.Is(err, ErrUnavailable) {
		panic(fmt.Sprint("while reopening: ", err))
	}
	setLimit(syscall.RLIM_INFINITY & (1<<63 - 1))
	s.reopens.Wait()
	must(tick(s, series, start, kept))
	must(s.Sync())
	kept++
	fmt.Println("reopened")
	countAll(s, len(series), kept)
	must(s.Close())
	s, err = Open(dir, Options{})
	must(err)
	countAll(s, len(series), kept)
	fmt.Println("all there")
}

func tick(s *Store, series []*Series, start int64, i int) error {
	b := s.Begin()
	for n, one := range series {
		at := start + int64(i)*1000
		if n%2 == 1 {
			at = start - int64(i)*1000
		}
		if err := b.Append(one, at, float64(i)+1/float64(n+2)); err != nil {
			return errors.Join(err, b.Rollback())
		}
	}
	return b.Commit()
}

func countAll(s *Store, series, samples int) {
	got, err := readAll(context.Background(), s)
	must(err)
	if len(got) != series {
		panic(fmt.Sprintf("%d series, want %d", len(got), series))
	}
	for name, one := range got {
		if len(one) != samples {
			panic(fmt.Sprintf("%s has %d samples, want %d", name, len(one), samples))
		}
	}
}

func setLimit(bytes uint64) {
	var l syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l))
	l.Cur = min(bytes, l.Max)
	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
