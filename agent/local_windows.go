package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/Microsoft/go-winio"
)

// listenLocal listens at a pipe that only this user, SYSTEM and administrators reach:
// Windows has sockets with a path only since 2018, and lets everybody use them who
// reads their folder.
func listenLocal(path string) (net.Listener, error) {
	return winio.ListenPipe(pipe(path), &winio.PipeConfig{
		SecurityDescriptor: "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)",
	})
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return winio.DialPipeContext(ctx, pipe(path))
}

// pipe is the name of a path's pipe. All pipes are in one place.
func pipe(path string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(filepath.Clean(path))))
	return `\\.\pipe\wacht-agent-` + hex.EncodeToString(sum[:8])
}
