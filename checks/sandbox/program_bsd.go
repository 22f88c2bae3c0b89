//go:build unix && !linux

package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// held is a copy of a program in a folder that only this user can enter.
type held struct {
	folder string
	entry  string // the copy
}

func (h *held) hold(in *os.File, path string) (sum [sha256.Size]byte, err error) {
	if h.folder, h.entry, err = stage(path); err != nil {
		return sum, err
	}
	out, err := os.OpenFile(h.entry, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return sum, fmt.Errorf("making a copy: %w", err)
	}
	sum, err = copyHashed(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return sum, err
	}
	return sum, nil
}

// attach lets the command execute the copy.
func (h *held) attach(cmd *exec.Cmd) {
	if h.entry != "" {
		cmd.Path = h.entry
	}
}

func (h *held) release() error { return unstage(h.folder) }
