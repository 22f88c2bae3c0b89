//go:build unix

package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

func environment() []string {
	return []string{"LC_ALL=C", "LANG=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
}

func workDir() string { return "/" }

// group is a program's process group, whose number is the leader's.
type group struct {
	cmd  *exec.Cmd
	opts Options

	mu   sync.Mutex
	over bool // the number may have passed to another group
}

func newGroup(cmd *exec.Cmd, opts Options) (*group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &group{cmd: cmd, opts: opts}, nil
}

// started sets the limits of the running program.
func (g *group) started() error { return limit(g.cmd.Process.Pid, g.opts) }

// kill ends every process of the group.
func (g *group) kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return os.ErrProcessDone
	}
	err := syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// killLast is the last kill of the group.
func (g *group) killLast() {
	_ = g.kill()
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
}

func (*group) close() {}
