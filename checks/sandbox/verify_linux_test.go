package sandbox_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

func makePipe(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runs says whether the process lives on. It was sent a signal that it can't
// ignore, and gets the time to take note of it.
func runs(t *testing.T, pid string) bool {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatalf("no process number: %v", err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	const watchdog = 30_000 // milliseconds
	ended, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, watchdog)
	return err != nil || ended == 0
}

// The folders of these tests must be ones that only root can write to, all the
// way up, which the usual temporary folder is not.
func rootDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: only root's programs are guarded against others")
	}
	dir, err := os.MkdirTemp("/root", "wacht-sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func program(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho ran \"$0\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTrusted(t *testing.T) {
	dir := rootDir(t)
	target := program(t, filepath.Join(dir, "program"), 0o755)
	link, relative := filepath.Join(dir, "link"), filepath.Join(dir, "relative")
	must(t, os.Symlink(target, link))
	must(t, os.Symlink("../"+filepath.Base(dir)+"/link", relative))
	for _, path := range []string{target, link, relative, "/bin/true"} {
		if _, err := sandbox.New(sandbox.Options{}).Exec(t.Context(), checks.Command{Path: path}); err != nil {
			t.Error(err)
		}
	}
}

func TestUntrusted(t *testing.T) {
	dir := rootDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	good := program(t, in("good"), 0o755)
	foreign := program(t, in("foreign"), 0o755)
	must(t, os.Chown(foreign, 65534, 0))
	grouped := program(t, in("grouped"), 0o775)
	must(t, os.Chown(grouped, 0, 65534))
	must(t, os.Mkdir(in("open"), 0o700))
	must(t, os.Chmod(in("open"), 0o1777))
	inOpen := program(t, in("open/program"), 0o755)
	must(t, os.Symlink(inOpen, in("to-open")))
	must(t, os.Symlink(good, in("open/link")))
	must(t, os.Symlink(in("loop"), in("loop")))
	makePipe(t, in("pipe"))

	for path, why := range map[string]string{
		"sh":                              "not absolute",
		"/bin/../bin/sh":                  "shortest form",
		"/":                               "not a regular file",
		dir:                               "not a regular file",
		in("missing"):                     "no such file",
		program(t, in("plain"), 0o644):    "not executable",
		program(t, in("writable"), 0o757): "everybody can write",
		foreign:                           "belongs to user 65534",
		grouped:                           "group 65534 can write",
		inOpen:                            "everybody can write to " + in("open"),
		in("to-open"):                     "everybody can write to " + in("open"),
		in("open/link"):                   "everybody can write to " + in("open"),
		in("loop"):                        "too many symbolic links",
		in("pipe"):                        "not a regular file",
		good + "/x":                       "not a folder",
	} {
		_, err := sandbox.New(sandbox.Options{}).Exec(t.Context(), checks.Command{Path: path})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s must be refused with %q, but gave: %v", path, why, err)
		}
	}
}

// What a file that decides what runs may be: also one in a folder such as /tmp, where
// nobody can put another in its place, but not through somebody else's link.
func TestGuarded(t *testing.T) {
	dir := rootDir(t)
	sticky, open := filepath.Join(dir, "sticky"), filepath.Join(dir, "open")
	for folder, mode := range map[string]os.FileMode{sticky: 0o777 | os.ModeSticky, open: 0o777} {
		must(t, os.Mkdir(folder, 0o700))
		must(t, os.Chmod(folder, mode))
		must(t, os.WriteFile(filepath.Join(folder, "file"), nil, 0o600))
		must(t, os.Symlink(filepath.Join(dir, "file"), filepath.Join(folder, "link")))
		must(t, os.Symlink(filepath.Join(dir, "file"), filepath.Join(folder, "foreign")))
		must(t, os.Lchown(filepath.Join(folder, "foreign"), 65534, 0))
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o600))
	must(t, os.Chown(filepath.Join(dir, "theirs"), 65534, 0))
	for path, why := range map[string]string{
		dir + "/file": "", sticky + "/file": "", sticky + "/link": "",
		dir + "/theirs":     "belongs to user 65534",
		sticky + "/foreign": "belongs to user 65534",
		open + "/file":      "everybody can write to " + open,
		open + "/link":      "everybody can write to " + open,
		dir + "/none":       "no such file",
	} {
		err := sandbox.Guarded(path)
		if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%s: %v, not %q", path, err, why)
		}
	}
}
