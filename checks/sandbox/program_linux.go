package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// held is a sealed memory file with a program's bytes and, for a script, the folder
// in which it has its name.
type held struct {
	bytes  *os.File
	folder string
	entry  string // the script's link in the folder, or ""
}

// firstExtra is the number that the first of exec.Cmd's ExtraFiles gets.
const firstExtra = 3

func descriptor(n int) string { return "/proc/self/fd/" + strconv.Itoa(n) }

// hold copies the program into memory, and makes sure that it can't change there.
func (h *held) hold(in *os.File, path string) ([sha256.Size]byte, error) {
	memory, err := memoryFile()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer memory.Close()
	sum, err := copyHashed(memory, in)
	if err != nil {
		return sum, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return sum, fmt.Errorf("sealing its bytes: %w", err)
	}
	// The program inherits the file: it gets one that it can only read.
	if h.bytes, err = os.Open(descriptor(int(memory.Fd()))); err != nil {
		return sum, fmt.Errorf("opening its bytes: %w", err)
	}
	if isScript(h.bytes) {
		h.folder, h.entry, err = stage(path)
	}
	if err == nil && h.entry != "" {
		err = os.Symlink(descriptor(firstExtra), h.entry)
	}
	return sum, err
}

func memoryFile() (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("wacht-program", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3, where every one can be executed
		fd, err = unix.MemfdCreate("wacht-program", flags)
	}
	if errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("this system executes nothing from memory: set vm.memfd_noexec to 1 or 0: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("making room for its bytes: %w", err)
	}
	return os.NewFile(uintptr(fd), "wacht-program"), nil
}

// attach lets the command execute the bytes that are held. The file stays open in the
// program, because a script's interpreter opens it after the exec (fexecve(3)). It
// must be the first of ExtraFiles.
func (h *held) attach(cmd *exec.Cmd) {
	if h.bytes == nil {
		return
	}
	cmd.ExtraFiles = append([]*os.File{h.bytes}, cmd.ExtraFiles...)
	cmd.Path = descriptor(firstExtra)
	if h.entry != "" {
		cmd.Path = h.entry
	}
}

func (h *held) release() error {
	return errors.Join(closeFile(h.bytes), unstage(h.folder))
}
