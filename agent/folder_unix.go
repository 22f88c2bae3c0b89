//go:build unix

package agent

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// ownFolder refuses to work as root in a folder of another user: what root writes
// there, the service that runs as that user can't read any more.
func ownFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // whoever uses the folder says what is wrong with it
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return nil
	}
	name := strconv.FormatUint(uint64(stat.Uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("%s belongs to %s: run this as that user, so begin the command with runuser -u %s --", dir, name, name)
}

// sameOwner gives a file to the owner and group of the one that it replaces, if any.
func sameOwner(old os.FileInfo, file *os.File) error {
	if old == nil {
		return nil
	}
	stat, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return file.Chown(int(stat.Uid), int(stat.Gid))
}
