//go:build unix

package collector

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// private keeps a folder to its owner, who is the one that this process runs as:
// what another user makes in it, the collector could not open at its next start.
func private(dir string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("the data folder %s belongs to %s, and this is %s: run it as %[2]s, or give the folder away with chown",
			dir, userName(int(st.Uid)), userName(os.Geteuid()))
	}
	mode := info.Mode().Perm()
	if mode&0o022 != 0 {
		return fmt.Errorf("others can write in the data folder %s (mode %#o): see what is in it, and then 'chmod 700 %s'", dir, mode, dir)
	}
	if mode&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its owner's x
		return fmt.Errorf("keeping the data folder to its owner: %w", err)
	}
	return nil
}

func userName(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(id)
}
