//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is as many symbolic links as Linux follows in one path.
const maxLinks = 40

// verify returns the file that path leads to, once it is one that may be run: a
// regular executable file and, when we are root, one that nobody else can change
// or replace. Each folder passed on the way is held to the same.
func verify(path string) (string, error) {
	me := os.Geteuid()
	return resolver{guard: me == 0, me: me}.resolve(path)
}

// verifyGuarded is verify that, whoever we are, refuses what others than root and we
// can change or replace.
func verifyGuarded(path string) (string, error) {
	return resolver{guard: true, me: os.Geteuid()}.resolve(path)
}

// Guarded says why a file that decides what runs can't be trusted: others than root and
// this process's user can change or replace it. In a folder where only its owner can
// remove a file, such as /tmp, that is what counts.
func Guarded(path string) error {
	_, err := resolver{guard: true, sticky: true, data: true, me: os.Geteuid()}.resolve(path)
	return err
}

type resolver struct {
	guard  bool // refuse what others than root and we can change
	sticky bool // pass folders with the sticky bit
	data   bool // the file need not be executable
	me     int
	links  int
}

func (r resolver) resolve(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("the path is not absolute")
	}
	if filepath.Clean(path) != path {
		return "", fmt.Errorf("the path is not in its shortest form, %s", filepath.Clean(path))
	}
	resolved := "/"
	if err := r.folder(resolved); err != nil {
		return "", err
	}
	rest := strings.Split(strings.Trim(path, "/"), "/")
	for len(rest) > 0 {
		next := filepath.Join(resolved, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			if err := r.owned(next, info); err != nil {
				return "", err
			}
			if resolved, rest, err = r.follow(resolved, next, rest); err != nil {
				return "", err
			}
			continue
		}
		if len(rest) == 0 {
			return next, r.program(next, info)
		}
		if err := r.folder(next); err != nil {
			return "", err
		}
		resolved = next
	}
	return "", fmt.Errorf("%s leads to a folder", path)
}

// follow puts a link's target before the rest of the way. The folder that the
// link is in has been verified, so only root made the link.
func (r *resolver) follow(folder, link string, rest []string) (string, []string, error) {
	if r.links++; r.links > maxLinks {
		return "", nil, errors.New("too many symbolic links")
	}
	target, err := os.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	if filepath.IsAbs(target) {
		folder = "/"
	}
	return folder, append(strings.Split(strings.Trim(target, "/"), "/"), rest...), nil
}

func (r resolver) folder(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	return r.guarded(path, info)
}

func (r resolver) program(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o111 == 0 && !r.data {
		return fmt.Errorf("%s is not executable", path)
	}
	return r.guarded(path, info)
}

// guarded refuses a file or folder that someone other than root and we can change.
func (r resolver) guarded(path string, info fs.FileInfo) error {
	if !r.guard {
		return nil
	}
	if err := r.owned(path, info); err != nil {
		return err
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode().Perm(); {
	case r.sticky && info.IsDir() && info.Mode()&fs.ModeSticky != 0:
	case mode&0o002 != 0:
		return fmt.Errorf("everybody can write to %s; %s runs only what nobody else can change", path, r.who())
	case mode&0o020 != 0 && st.Gid != 0:
		return fmt.Errorf("group %d can write to %s; %s runs only what nobody else can change", st.Gid, path, r.who())
	}
	return nil
}

// owned refuses what belongs to others than root and us.
func (r resolver) owned(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the owner of %s is not known", path)
	}
	if r.guard && st.Uid != 0 && int(st.Uid) != r.me {
		return fmt.Errorf("%s belongs to user %d; what %s runs must belong to %s", path, st.Uid, r.who(), r.owners())
	}
	return nil
}

func (r resolver) who() string {
	if r.me == 0 {
		return "root"
	}
	return fmt.Sprintf("user %d", r.me)
}

func (r resolver) owners() string {
	if r.me == 0 {
		return "root"
	}
	return "root or to that user"
}
