package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// limit bounds a program that runs already, and what it starts from then on.
func limit(pid int, opts Options) error {
	cpu := uint64((opts.MaxCPU + time.Second - 1) / time.Second)
	limits := []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_CPU, cpu}, {unix.RLIMIT_AS, opts.MaxMemory}}
	if opts.MaxMemory == 0 {
		limits = limits[:2]
	}
	for _, l := range limits {
		err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("limiting it: %w", err)
		}
	}
	return nil
}

// wait waits for the program, and kills what it left of its group before it reaps
// it: until then no other group can have the number.
func (g *group) wait() error {
	for {
		err := unix.Waitid(unix.P_PID, g.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.killLast()
	return g.cmd.Wait()
}
