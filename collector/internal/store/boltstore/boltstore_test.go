package boltstore_test

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
	"github.com/wacht-io/wacht/collector/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) (a, b store.Store) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"))
			return s, s
		},
		Restore: func(t *testing.T, backup io.Reader) store.Store {
			path := filepath.Join(t.TempDir(), "restored.db")
			if _, err := boltstore.Restore(backup, path, boltstore.RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			return open(t, path)
		},
	})
}

// open opens a file that must be sound.
func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, report, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Damages != 0 || report.OneHeader {
		t.Fatalf("a sound file: %+v", report)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
