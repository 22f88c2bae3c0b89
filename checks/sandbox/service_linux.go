package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Service is a program that runs until it ends or is killed.
type Service struct {
	path    string
	opts    ServiceOptions
	command func(born bool) *exec.Cmd
	cmd     *exec.Cmd
	group   *leaf
	done    chan struct{}
	err     error // once done is closed
	kill    context.CancelFunc
}

// StartService starts a program whose bytes have the digest in opts, and nobody can
// change between being verified and being run. It runs without a shell, in a session
// of its own, behind the other work of the machine, and can gain no rights. When this
// process is root it has a process namespace of its own too. It ends with ctx, with
// Kill, and with this process; all that it started in its namespace, its control group
// or its process group ends with it.
func StartService(ctx context.Context, path string, opts ServiceOptions) (*Service, error) {
	s, err := startService(ctx, path, opts)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return s, nil
}

func startService(ctx context.Context, path string, opts ServiceOptions) (*Service, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	program, err := open(path, opts.SHA256)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	leaf, err := opts.Group.leaf(&opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Service{path: path, opts: opts, group: leaf, done: make(chan struct{}), kill: cancel}
	root := os.Geteuid() == 0 // which the thread that starts it may not be by then
	s.command = func(born bool) *exec.Cmd { return s.prepared(ctx, program.bytes, root, born) }
	started, ended := make(chan error), make(chan error)
	go s.live(started, ended)
	if err := <-started; err != nil {
		cancel()
		leaf.remove()
		return nil, err
	}
	if err := s.join(); err != nil {
		go s.finish(ended)
		s.Kill()
		return nil, err
	}
	// Where memory runs out it goes first.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.cmd.Process.Pid), []byte("800"), 0)
	go s.finish(ended)
	return s, nil
}

// join puts the program into its group where it could not be born there.
func (s *Service) join() error {
	if s.group == nil || s.cmd.SysProcAttr.UseCgroupFD {
		return nil
	}
	return s.group.take(s.cmd.Process.Pid)
}

// prepared is the program, not started; its process may be born in its group. A script
// has not its own name here, nor what is beside it: it runs as another user, who may not
// be let at either.
func (s *Service) prepared(ctx context.Context, program *os.File, root, born bool) *exec.Cmd {
	cmd := exec.CommandContext(ctx, descriptor(firstExtra))
	cmd.Args = []string{s.path}
	cmd.ExtraFiles = []*os.File{program}
	cmd.Env = append(environment(), s.opts.Env...)
	cmd.Dir = s.opts.Dir
	cmd.Stdout, cmd.Stderr = s.opts.Stdout, s.opts.Stderr
	cmd.WaitDelay = pipeDelay
	cmd.Cancel = s.killAll
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if s.group != nil && born {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(s.group.dir.Fd())
	}
	if root {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	}
	return cmd
}

// niceness puts the program behind everything else that wants the processor.
const niceness = 19

// live starts the program from a thread that ends with it: what is set on the thread
// the program inherits, and the thread's end is what Pdeathsig waits for. What the
// thread may not do any more, finish does.
func (s *Service) live(started, ended chan<- error) {
	runtime.LockOSThread() // and never unlocked: the runtime ends the thread
	err := s.prepare()
	if err == nil {
		err = s.start()
	}
	started <- err
	if err == nil {
		ended <- s.cmd.Wait()
	}
}

// finish leaves nothing of a program that has ended.
func (s *Service) finish(ended <-chan error) {
	defer close(s.done)
	err := <-ended
	s.kill()
	_ = s.killAll()
	s.group.remove()
	s.err = explain(s.cmd, err)
}

// prepare readies the thread.
func (s *Service) prepare() error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, niceness); err != nil {
		return fmt.Errorf("lowering its priority: %w", err)
	}
	err := confine(s.opts.Dir, s.opts.Hidden)
	if errors.Is(err, errNoLandlock) {
		if u := s.opts.User; s.opts.Trusted || u != nil && u.UID != 0 && int(u.UID) != os.Geteuid() {
			return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) // the files' modes guard them
		}
		return fmt.Errorf("%w: it could read what this process keeps to itself", err)
	}
	return err
}

// start starts the program as its user, and bounds it.
func (s *Service) start() (err error) {
	if s.opts.User != nil {
		back, err := become(s.opts.User)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, back()) }()
	}
	s.cmd = s.command(true)
	err = s.cmd.Start()
	// systemd's RestrictNamespaces= takes away the system call for that.
	if errors.Is(err, unix.ENOSYS) && s.group != nil {
		s.cmd = s.command(false)
		err = s.cmd.Start()
	}
	if err != nil {
		return err
	}
	if err := s.bound(s.cmd.Process.Pid); err != nil {
		_ = s.killAll()
		_ = s.cmd.Wait() // it was killed
		return err
	}
	return nil
}

// bound limits the program and what it starts from then on.
func (s *Service) bound(pid int) error {
	processes := uint64(s.opts.MaxProcesses)
	if processes > 0 && s.opts.User == nil {
		processes += threadsOf(os.Geteuid()) // the limit counts all of the user's
	}
	// A process with a large runtime reserves room for what it shares and never uses.
	const reserve = 4 << 30
	for _, l := range []struct {
		resource  int
		most, set uint64
	}{
		{unix.RLIMIT_CORE, 0, 1},
		{unix.RLIMIT_DATA, s.opts.MaxMemory, s.opts.MaxMemory},
		{unix.RLIMIT_AS, s.opts.MaxMemory + reserve, s.opts.MaxMemory},
		{unix.RLIMIT_NPROC, processes, processes},
		{unix.RLIMIT_CPU, uint64(s.opts.MaxCPU / time.Second), uint64(s.opts.MaxCPU / time.Second)},
		{unix.RLIMIT_FSIZE, s.opts.MaxMemory, s.opts.MaxMemory},
		{unix.RLIMIT_NOFILE, 1024, 1},
	} {
		if l.set == 0 {
			continue
		}
		err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("limiting it: %w", err)
		}
	}
	return nil
}

// threadsOf counts a user's threads, as RLIMIT_NPROC does.
func threadsOf(uid int) uint64 {
	entries, _ := os.ReadDir("/proc")
	n := uint64(0)
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if info, err := e.Info(); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != uid {
			continue
		}
		tasks, _ := os.ReadDir("/proc/" + e.Name() + "/task")
		n += uint64(len(tasks))
	}
	return n
}

// killAll ends the program and everything that can be found of it.
func (s *Service) killAll() error {
	s.group.kill()
	err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Kill ends the program, and returns when it has ended.
func (s *Service) Kill() {
	s.kill()
	<-s.done
}

// Done is closed when the program has ended.
func (s *Service) Done() <-chan struct{} { return s.done }

// Err says how the program ended, once Done is closed: nil means with exit code 0.
func (s *Service) Err() error { return s.err }

// explain adds what the signals of the limits mean.
func explain(cmd *exec.Cmd, err error) error {
	if cmd.ProcessState == nil || errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Signaled():
		return err
	case status.Signal() == syscall.SIGXCPU:
		return fmt.Errorf("%w: it used more processor time than it may", err)
	case status.Signal() == syscall.SIGXFSZ:
		return fmt.Errorf("%w: it wrote a larger file than it may", err)
	}
	return err
}
