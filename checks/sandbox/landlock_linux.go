package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock (https://docs.kernel.org/userspace-api/landlock.html) is asked to
// guard, by the version of its interface. Libraries for it restrict every thread of
// the process; here one thread is, which starts a program and ends.
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	landlockFile = landlockRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE // what a file that is no folder can have
	landlockV1   = landlockFile | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
)

// errNoLandlock says that the kernel can't hide files from a program of the same user.
var errNoLandlock = errors.New("this kernel has no Landlock, or does not let this process use it")

// confine has this thread, and every program that it starts, read everything but the
// hidden folders and write to one folder and to devices alone. It can't be undone.
func confine(writable string, hidden []string) error {
	handled, scoped, err := landlockRights()
	if err != nil {
		return err
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled, Scoped: scoped}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("making a Landlock ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	if err := allowAll(int(fd), handled, writable, hidden); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new rights: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("restricting access to files: %w", errno)
	}
	return nil
}

// landlockRights are what this kernel's Landlock can guard.
func landlockRights() (handled, scoped uint64, err error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, 0, errNoLandlock
	}
	handled = landlockV1
	if version >= 2 {
		handled |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 6 {
		scoped = unix.LANDLOCK_SCOPE_SIGNAL
	}
	return handled, scoped, nil
}

// devices are those that hold nothing of the machine: a program that is root must not
// get at the disks.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

func allowAll(ruleset int, handled uint64, writable string, hidden []string) error {
	readable, err := around(hidden)
	if err != nil {
		return err
	}
	// Names are no secret: with a right on the root, a folder's list is readable though
	// its files are not.
	if err := allow(ruleset, "/", unix.LANDLOCK_ACCESS_FS_READ_DIR); err != nil {
		return err
	}
	for _, path := range readable {
		if err := allow(ruleset, path, landlockRead); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, path := range devices {
		if err := allow(ruleset, path, landlockFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return allow(ruleset, writable, handled)
}

// allow gives rights beneath a path. A file of an odd kind that takes none is left out.
func allow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.EACCES) {
		return nil // the program can't reach it either
	}
	if err != nil {
		return fmt.Errorf("allowing %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 && errno != unix.EBADFD && errno != unix.EINVAL {
		return fmt.Errorf("allowing %s: %w", path, errno)
	}
	return nil
}

// around lists paths that together hold everything but the hidden folders: Landlock
// only allows. What is made later in a folder on the way to a hidden one stays out.
func around(hidden []string) ([]string, error) {
	var resolved []string
	for _, path := range hidden {
		to, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("hiding %s: %w", path, err)
		}
		resolved = append(resolved, to)
	}
	return beside("/", resolved)
}

func beside(folder string, hidden []string) ([]string, error) {
	within := false
	for _, h := range hidden {
		if h == folder {
			return nil, nil
		}
		within = within || strings.HasPrefix(h, strings.TrimSuffix(folder, "/")+"/")
	}
	if !within {
		return []string{folder}, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("hiding a folder in %s: %w", folder, err)
	}
	var out []string
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 {
			continue // where it leads is what counts
		}
		more, err := beside(filepath.Join(folder, e.Name()), hidden)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}
