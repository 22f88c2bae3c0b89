//go:build unix

package spool

import "os"

// openShared is os.OpenFile: what is open can be renamed.
func openShared(path string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag, perm)
}
