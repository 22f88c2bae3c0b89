package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/windows"
)

// verify returns the file that path leads to, once it is one that may be run: a
// regular file and, with an elevated token, one under a folder that Windows lets
// only administrators write to.
func verify(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("the path is not absolute")
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(resolved)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", resolved)
	}
	if windows.GetCurrentProcessToken().IsElevated() {
		return resolved, guarded(resolved)
	}
	return resolved, nil
}

// verifyGuarded is verify: without an elevated token there are folders of the user's
// own, whose access lists are not looked at.
func verifyGuarded(path string) (string, error) { return verify(path) }

// Guarded finds nothing here: the installer sets the access list of the folder that such
// files are in.
func Guarded(string) error { return nil }

// guarded holds the file to the folders whose access lists Windows guards itself.
func guarded(path string) error {
	var roots []string
	for _, id := range []*windows.KNOWNFOLDERID{
		windows.FOLDERID_System, windows.FOLDERID_SystemX86,
		windows.FOLDERID_ProgramFiles, windows.FOLDERID_ProgramFilesX86,
	} {
		if root, err := windows.KnownFolderPath(id, 0); err == nil {
			roots = append(roots, root)
		}
	}
	under := func(root string) bool {
		return len(path) > len(root) && strings.EqualFold(path[:len(root)], root) && path[len(root)] == '\\'
	}
	if !slices.ContainsFunc(roots, under) {
		return fmt.Errorf("%s is not under %s", path, strings.Join(roots, " or "))
	}
	return nil
}
