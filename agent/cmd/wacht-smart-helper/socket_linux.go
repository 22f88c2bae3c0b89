package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstPassed is the descriptor of the first socket that systemd passes
// (sd_listen_fds(3)).
const firstPassed = 3

var errNotPassed = errors.New("no socket was passed; it is started by its socket: systemctl enable --now wacht-smart-helper.socket")

// passed takes up the one socket that started this process.
func passed() (*net.UnixListener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, errNotPassed
	}
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("%s sockets were passed, but it serves one", n)
	}
	file := os.NewFile(firstPassed, "LISTEN_FD_3")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("taking up the socket that was passed: %w", err)
	}
	socket, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the socket that was passed is %s, not a Unix socket", listener.Addr().Network()), listener.Close())
	}
	return socket, nil
}

// callers are the user and the group that may ask, beside root.
type callers struct{ uid, gid uint32 }

// resolve finds them by name or number.
func resolve(userName, groupName string) (callers, error) {
	uid, err := number(userName, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return callers{}, fmt.Errorf("finding the agent's user (--user): %w", err)
	}
	gid, err := number(groupName, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return callers{}, fmt.Errorf("finding the agent's group (--group): %w", err)
	}
	return callers{uid, gid}, nil
}

func number(name string, lookUp func(string) (string, error)) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	digits, err := lookUp(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err
}

// verify refuses a caller by what the kernel noted when it connected.
func (c callers) verify(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("finding out who asks: %w", err)
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, peerErr); err != nil {
		return fmt.Errorf("finding out who asks: %w", err)
	}
	if peer.Uid != 0 && peer.Uid != c.uid && peer.Gid != c.gid {
		return fmt.Errorf("user %d of group %d may not ask, only root, user %d and group %d", peer.Uid, peer.Gid, c.uid, c.gid)
	}
	return nil
}
