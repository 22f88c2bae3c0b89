package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// become makes this thread, and what it starts, another user's, and gives back how it
// becomes root's again. It is for a thread that starts a program from a descriptor:
// exec.Cmd's own way changes the user too late for the new one to be let at
// /proc/self. The thread keeps its capabilities, which a program of that user does not
// inherit, so that meanwhile nobody of that user may trace it.
func become(u *User) (back func() error, err error) {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("keeping capabilities: %w", err)
	}
	if err := setIDs(u); err != nil {
		return nil, fmt.Errorf("becoming user %d: %w", u.UID, err)
	}
	if err := errors.Join(raiseCapabilities(), dumpable()); err != nil {
		return nil, err
	}
	return func() error {
		return errors.Join(setIDs(&User{}), dumpable())
	}, nil
}

// setIDs changes the user of this thread alone, unlike the functions of the standard
// library (setresuid(2), C library/kernel differences).
func setIDs(u *User) error {
	groups := unsafe.Pointer(unsafe.SliceData(u.Groups))
	if _, _, errno := unix.Syscall(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(groups), 0); errno != 0 {
		return errno
	}
	gid, uid := uintptr(u.GID), uintptr(u.UID)
	if _, _, errno := unix.Syscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return errno
	}
	if _, _, errno := unix.Syscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return errno
	}
	return nil
}

// raiseCapabilities puts in force again what the change of the user left permitted.
func raiseCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("raising capabilities: %w", err)
	}
	return nil
}

// dumpable undoes a side effect of changing users: without it /proc/self is root's.
func dumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping /proc/self: %w", err)
	}
	return nil
}
