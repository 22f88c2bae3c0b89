package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs mounts a filesystem of some MiB for the length of the test.
func tmpfs(t testing.TB, mib int) string {
	t.Helper()
	point := filepath.Join(t.TempDir(), "mounted")
	if err := os.MkdirAll(point, 0o700); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("tmpfs", point, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if errors.Is(err, unix.EPERM) {
		t.Skip("not root, or not allowed to: filesystems are mounted in this test")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	return point
}

// fill takes all but some KiB of a filesystem.
func fill(t testing.TB, point string, leaveKiB uint64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(point, "fill"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Who writes there takes some of it between the question and the answer.
	for err = unix.ENOSPC; errors.Is(err, unix.ENOSPC); {
		var st unix.Statfs_t
		if err := unix.Statfs(point, &st); err != nil {
			t.Fatal(err)
		}
		free := st.Bavail * uint64(st.Bsize)
		if free <= leaveKiB<<10 {
			return
		}
		err = unix.Fallocate(int(f.Fd()), 0, 0, int64(free-leaveKiB<<10))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// empty frees what fill took.
func empty(t testing.TB, point string) {
	t.Helper()
	if err := os.Remove(filepath.Join(point, "fill")); err != nil {
		t.Fatal(err)
	}
}
