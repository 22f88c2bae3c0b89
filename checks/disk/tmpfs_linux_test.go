package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks"
)

// mountAt mounts for the length of a test.
func mountAt(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := os.MkdirAll(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, target, kind, flags, data); errors.Is(err, unix.EPERM) {
		t.Skip("not root, or not allowed to: filesystems are mounted in this test")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

// A filesystem is there from the run after its mounting, shows what happens to it,
// and is absent from the run after its end.
func TestTmpfs(t *testing.T) {
	c, _ := New().(check)
	point := filepath.Join(t.TempDir(), "new one")
	run, got := runOnce(t, c, nil)
	if _, there := got[point]; there {
		t.Fatal("it is there before its time")
	}
	mountAt(t, "tmpfs", point, "tmpfs", 0, "size=64m,nr_inodes=1000")
	run, got = runOnce(t, c, run.Sample)
	fresh := got[point]
	if fresh.Status != checks.OK || figure(t, fresh, "size_bytes") != 64<<20 || figure(t, fresh, "free_ratio") != 1 {
		t.Errorf("freshly mounted: %+v", fresh)
	}

	if err := os.WriteFile(filepath.Join(point, "file"), make([]byte, 62<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run, got = runOnce(t, c, run.Sample)
	if free := figure(t, got[point], "free_bytes"); free != 2<<20 {
		t.Errorf("filled: %g bytes free", free)
	}
	if want := "2 MiB of 64 MiB free (3.1 %)"; got[point].Summary != want {
		t.Errorf("the summary is %q, not %q", got[point].Summary, want)
	}

	if err := unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	run, got = runOnce(t, c, run.Sample)
	if figure(t, fresh, "readonly") != 0 || figure(t, got[point], "readonly") != 1 {
		t.Errorf("remounted read-only: %+v", got[point])
	}

	if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	run, got = runOnce(t, c, run.Sample)
	if _, there := got[point]; there || !run.Complete {
		t.Errorf("unmounted: complete %t, %+v", run.Complete, got[point])
	}
}

func TestInodesRunOut(t *testing.T) {
	c, _ := New().(check)
	point := filepath.Join(t.TempDir(), "m")
	mountAt(t, "tmpfs", point, "tmpfs", 0, "size=64m,nr_inodes=20")
	for i := range 18 {
		if err := os.WriteFile(filepath.Join(point, string(rune('a'+i))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, got := runOnce(t, c, nil)
	if ratio := figure(t, got[point], "inodes_free_ratio"); ratio >= 0.10 {
		t.Errorf("%g of the inodes are free", ratio)
	}
}

func TestNotOurs(t *testing.T) {
	c, _ := New().(check)
	base := t.TempDir()
	first, second, small := filepath.Join(base, "first"), filepath.Join(base, "second"), filepath.Join(base, "small")
	system, err := os.MkdirTemp("/run", "wacht-test-")
	if err != nil {
		t.Skipf("not root: filesystems are mounted in this test: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(system) })
	mountAt(t, "tmpfs", first, "tmpfs", 0, "size=64m")
	mountAt(t, first, second, "", unix.MS_BIND, "")
	mountAt(t, "tmpfs", small, "tmpfs", 0, "size=4k")
	mountAt(t, "tmpfs", system, "tmpfs", 0, "size=64m")
	_, got := runOnce(t, c, nil)
	if _, there := got[first]; !there {
		t.Error("the filesystem itself is missing")
	}
	for name, point := range map[string]string{"a bind mount": second, "a mask": small, "under /run": system} {
		if r, there := got[point]; there {
			t.Errorf("%s is there: %+v", name, r)
		}
	}
}
