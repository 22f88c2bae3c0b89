package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

func backupOf(t *testing.T, s *boltstore.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func numbered(t *testing.T, path string, count int) *boltstore.Store {
	t.Helper()
	s := open(t, path)
	for i := range count {
		if err := s.Commit(t.Context(), nil, numberWrites(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestRestoreReplacesOnlyWhenTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := numbered(t, path, 10)
	backup := backupOf(t, s)
	if err := s.Commit(t.Context(), nil, numberWrites(11)); err != nil {
		t.Fatal(err)
	}
	replace := boltstore.RestoreOptions{Replace: true, Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	if _, err := boltstore.Restore(bytes.NewReader(backup), path, replace); !errors.Is(err, boltstore.ErrInUse) {
		t.Errorf("over an open file: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Restore(bytes.NewReader(backup), path, boltstore.RestoreOptions{}); !errors.Is(err, boltstore.ErrExists) {
		t.Errorf("without leave: %v", err)
	}
	kept, err := boltstore.Restore(bytes.NewReader(backup), path, replace)
	if err != nil || kept != path+".replaced-20260102T030405.000Z" {
		t.Fatal(kept, err)
	}
	if n := countNumbers(t, open(t, path)); n != 10 {
		t.Errorf("%d numbers of 10", n)
	}
	if n := countNumbers(t, open(t, kept)); n != 11 {
		t.Errorf("%d numbers of 11 in the file that was replaced", n)
	}
}

func TestRestoreOverDamage(t *testing.T) {
	folder := t.TempDir()
	backup := backupOf(t, numbered(t, filepath.Join(folder, "store.db"), 10))
	path := filepath.Join(folder, "damaged.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("damaged"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Restore(bytes.NewReader(backup), path, boltstore.RestoreOptions{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if n := countNumbers(t, open(t, path)); n != 10 {
		t.Errorf("%d numbers of 10", n)
	}
}

// TestBadBackups shows that a backup which is cut or changed replaces nothing.
func TestBadBackups(t *testing.T) {
	folder := t.TempDir()
	backup := backupOf(t, numbered(t, filepath.Join(folder, "store.db"), 10))
	path := filepath.Join(folder, "target.db")
	if err := numbered(t, path, 3).Close(); err != nil {
		t.Fatal(err)
	}
	random := seed(t)
	bad := map[string][]byte{
		"empty": nil, "something else": bytes.Repeat([]byte("x"), len(backup)),
		"cut": backup[:len(backup)-1], "more": append(bytes.Clone(backup), 0), "half": backup[:len(backup)/2],
	}
	for range 50 {
		flipped := bytes.Clone(backup)
		at := random.IntN(len(flipped))
		flipped[at] ^= 1 << random.IntN(8)
		bad["a flipped bit in byte "+time.Duration(at).String()] = flipped
	}
	for name, content := range bad {
		if _, err := boltstore.Restore(bytes.NewReader(content), path, boltstore.RestoreOptions{Replace: true}); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	if n := countNumbers(t, open(t, path)); n != 3 {
		t.Errorf("%d numbers of 3", n)
	}
}

// slowWriter lets a function run between the parts of a backup.
type slowWriter struct {
	bytes.Buffer
	between func()
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.between()
	return w.Buffer.Write(b)
}

// TestBackupHoldsNobodyUp commits between the parts of a backup, far more than the
// file's size; the backup is as of its start.
func TestBackupHoldsNobodyUp(t *testing.T) {
	s := numbered(t, filepath.Join(t.TempDir(), "store.db"), 100)
	next := 100
	out := &slowWriter{between: func() {
		next++
		writes := append(numberWrites(next), store.Write{
			Table: lastNumber, Row: store.Row{Customer: "c", Key: "big", Value: make([]byte, 2<<20)},
		})
		if err := s.Commit(t.Context(), nil, writes); err != nil {
			t.Error(err)
		}
	}}
	if err := s.Backup(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if next < 103 {
		t.Errorf("only %d commits went on during the backup", next-100)
	}
	path := filepath.Join(t.TempDir(), "restored.db")
	if _, err := boltstore.Restore(&out.Buffer, path, boltstore.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := countNumbers(t, open(t, path)); n != 100 {
		t.Errorf("the backup holds %d numbers of 100", n)
	}
}

func TestBackupCanBeStopped(t *testing.T) {
	s := numbered(t, filepath.Join(t.TempDir(), "store.db"), 10)
	ctx, cancel := context.WithCancel(t.Context())
	out := &slowWriter{between: cancel}
	if err := s.Backup(ctx, out); !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped backup: %v", err)
	}
	failing := errors.New("the network is gone")
	if err := s.Backup(t.Context(), writerFunc(func([]byte) (int, error) { return 0, failing })); !errors.Is(err, failing) {
		t.Errorf("a backup to a writer that fails: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
