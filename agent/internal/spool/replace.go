package spool

import (
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// replace puts a fresh file in the place of one that is empty and large: bbolt's
// files never shrink.
func (s *Spool) replace() error {
	path, fresh := s.path(storeName), s.path(storeName+".new")
	_ = os.Remove(fresh)
	old := s.store
	st, err := openStore(fresh, s.opts.MaxBytes)
	if err != nil {
		return fmt.Errorf("making a fresh spool: %w", err)
	}
	s.store = nil
	for _, close := range []func() error{func() error { return s.fill(st) }, st.close, old.close} {
		if err := close(); err != nil {
			return fmt.Errorf("making a fresh spool: %w", err)
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("replacing the spool: %w", err)
	}
	syncDir(s.opts.Dir)
	return s.openAgain()
}

// fill stores epochs, tasks and gaps in a file that has no runs.
func (s *Spool) fill(st *store) error {
	s.forgetStored()
	records := map[*epoch][]byte{}
	return st.update(func(tx *bolt.Tx) error {
		if err := s.putEpochs(tx, records); err != nil {
			return err
		}
		return s.putMeta(tx, nil)
	})
}

// syncDir makes a rename durable, where the system can.
func syncDir(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}
