package sandbox

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/windows"
)

// held is the program's file, open in a way that lets nobody write, rename or delete
// it, nor rename a folder that it is in.
type held struct{ file *os.File }

func (h *held) hold(_ *os.File, path string) (sum [sha256.Size]byte, err error) {
	if h.file, err = openFile(path); err != nil {
		return sum, err
	}
	return copyHashed(io.Discard, h.file)
}

func (*held) attach(*exec.Cmd) {}

func (h *held) release() error { return closeFile(h.file) }

func openFile(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, fmt.Errorf("naming it: %w", err)
	}
	handle, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil,
		windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, fmt.Errorf("opening it alone: %w", err)
	}
	return os.NewFile(uintptr(handle), path), nil
}
