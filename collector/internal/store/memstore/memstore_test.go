package memstore_test

import (
	"io"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
	"github.com/wacht-io/wacht/collector/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(*testing.T) (a, b store.Store) {
			s := memstore.New()
			return s, s
		},
		Restore: func(t *testing.T, backup io.Reader) store.Store {
			s, err := memstore.Restore(backup)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	})
}
