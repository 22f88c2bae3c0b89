//go:build unix

package host

import (
	"fmt"
	"os"
	"syscall"
)

// giveTo gives a file to a folder's owner, where this process may: root writes for the
// agent's user.
func giveTo(folder, file string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the owner of %s is not known", folder)
	}
	return os.Chown(file, int(st.Uid), int(st.Gid))
}
