package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxProgram bounds a program that is copied before it runs.
const maxProgram = 256 << 20

// sealed returns a copy of a program, in memory, that nobody can change any more and
// whose digest is the one asked for. What is verified is what will run.
func sealed(path string, sum [sha256.Size]byte) (_ *os.File, err error) {
	resolved, err := verify(path)
	if err != nil {
		return nil, err
	}
	if err := ownersAlone(resolved); err != nil {
		return nil, err
	}
	from, err := os.Open(resolved)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	fd, err := unix.MemfdCreate(filepath.Base(path), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making room for a copy: %w", err)
	}
	to := os.NewFile(uintptr(fd), path)
	defer func() {
		if err != nil {
			_ = to.Close()
		}
	}()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(from, maxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("copying it: %w", err)
	}
	if n > maxProgram {
		return nil, fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	if got := [sha256.Size]byte(hash.Sum(nil)); got != sum {
		return nil, fmt.Errorf("its SHA-256 is %x, but %x is allowed", got, sum)
	}
	const all = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if err := errors.Join(to.Chmod(0o555), seal(fd, all)); err != nil {
		return nil, fmt.Errorf("sealing the copy: %w", err)
	}
	return to, nil
}

func seal(fd, seals int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return err
}

// ownersAlone holds, where this process is not root and verify asks for less, that
// nobody but root and this user can change the file or a folder on the way.
func ownersAlone(resolved string) error {
	self := os.Geteuid()
	if self == 0 {
		return nil
	}
	path := "/"
	for _, name := range append([]string{""}, strings.Split(strings.Trim(resolved, "/"), "/")...) {
		path = filepath.Join(path, name)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || (st.Uid != 0 && int(st.Uid) != self) {
			return fmt.Errorf("%s belongs to another user than root and the agent's", path)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("others than its owner can write to %s", path)
		}
	}
	return nil
}
