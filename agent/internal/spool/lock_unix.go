//go:build unix

package spool

import (
	"fmt"
	"os"
	"syscall"
)

// probeLock says whether another process holds bbolt's lock on the file, in which
// case what looks like damage is a page that is being written.
func probeLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the spool: %w", err)
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return ErrInUse
	}
	return nil
}
