//go:build unix

package host

import (
	"fmt"
	"os"
	"syscall"
)

// giveTo gives an open file to a folder's owner, where this process may: root writes for
// the agent's user, who could put a link in the place of a path.
func giveTo(folder string, file *os.File) error {
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
	return file.Chown(int(st.Uid), int(st.Gid))
}
