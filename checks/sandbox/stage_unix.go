//go:build unix

package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// maxBeside is the most files beside a script that are linked to for it. A folder
// with more is no folder of a program and its libraries.
const maxBeside = 256

// stage makes a folder for the program at path that only this user can enter, with
// links to what is beside the program, and returns it with the program's own place
// in it, where there is nothing yet.
func stage(path string) (folder, entry string, err error) {
	folder, err = os.MkdirTemp("", "wacht-program-")
	if err != nil {
		return "", "", fmt.Errorf("making a folder for it: %w", err)
	}
	original, name := filepath.Split(path)
	entry = filepath.Join(folder, name)
	beside, _ := os.ReadDir(original) // in a folder that can't be listed a program finds nothing either
	if len(beside) > maxBeside {
		return folder, entry, nil
	}
	for _, e := range beside {
		if e.Name() == name {
			continue
		}
		if err := os.Symlink(filepath.Join(original, e.Name()), filepath.Join(folder, e.Name())); err != nil {
			return folder, entry, fmt.Errorf("linking to what is beside it: %w", err)
		}
	}
	return folder, entry, nil
}

func unstage(folder string) error {
	if folder == "" {
		return nil
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("removing a program's folder: %w", err)
	}
	return nil
}

// openFile opens a regular file, also where a pipe has taken its place since.
func openFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
