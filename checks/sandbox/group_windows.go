package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

func environment() []string {
	root := os.Getenv("SystemRoot")
	return []string{"SystemRoot=" + root, "PATH=" + root + `\System32;` + root, "LC_ALL=C"}
}

func workDir() string { return os.Getenv("SystemRoot") }

// group is a job object, which holds the program and all that it starts.
type group struct {
	cmd *exec.Cmd
	job windows.Handle
}

func newGroup(cmd *exec.Cmd, opts Options) (*group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("making its job object: %w", err)
	}
	g := &group{cmd: cmd, job: job}
	if err := setLimits(job, opts); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// started puts the running program into the job.
func (g *group) started() error {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(g.cmd.Process.Pid))
	if err != nil {
		return fmt.Errorf("opening it: %w", err)
	}
	defer func() { _ = windows.CloseHandle(process) }()
	if err := windows.AssignProcessToJobObject(g.job, process); err != nil {
		return fmt.Errorf("putting it into its job object: %w", err)
	}
	return nil
}

func setLimits(job windows.Handle, opts Options) error {
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_PROCESS_TIME
	info.BasicLimitInformation.PerProcessUserTimeLimit = opts.MaxCPU.Nanoseconds() / 100
	if opts.MaxMemory > 0 {
		info.BasicLimitInformation.LimitFlags |= windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY
		info.ProcessMemoryLimit = uintptr(opts.MaxMemory)
	}
	_, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		return fmt.Errorf("limiting it: %w", err)
	}
	return nil
}

// kill ends every process of the job. The program itself is named too, since it
// is not in the job yet when ctx ends between its start and started.
func (g *group) kill() error {
	if err := windows.TerminateJobObject(g.job, 1); err != nil {
		return err
	}
	return g.cmd.Process.Kill()
}

// wait waits for the program, and kills what it left in the job.
func (g *group) wait() error {
	err := g.cmd.Wait()
	_ = windows.TerminateJobObject(g.job, 1)
	return err
}

func (g *group) close() { _ = windows.CloseHandle(g.job) }
