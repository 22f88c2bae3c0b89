//go:build unix

package agent

import (
	"context"
	"net"
	"os"
	"time"
)

// listenLocal listens at a socket that only this user reaches.
func listenLocal(path string) (net.Listener, error) {
	_ = os.Remove(path) // the spool's lock says that no other agent has it
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(path, 0o600)
	return listener, nil
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", path)
}
