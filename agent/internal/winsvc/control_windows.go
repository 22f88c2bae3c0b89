package winsvc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

const (
	displayName = "Wacht agent"
	description = "Watches this machine and tells the service provider what breaks."
	account     = `NT SERVICE\` + Name
)

// What is wrong with the service as it is.
var (
	ErrInstalled    = errors.New("the service is installed already")
	ErrNotInstalled = errors.New("the service is not installed: run wacht-agent service install as an administrator")
)

// runArgs are the arguments with which Windows starts the program.
func runArgs() []string { return []string{"service", "run"} }

// withService opens the service for f. Everything but looking needs an administrator.
func withService(f func(*mgr.Service) error) error {
	return withManager(windows.SC_MANAGER_ALL_ACCESS, func(m *mgr.Mgr) error {
		s, err := m.OpenService(Name)
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			return ErrNotInstalled
		}
		if err != nil {
			return fmt.Errorf("opening the service: %w", err)
		}
		defer s.Close()
		return f(s)
	})
}

func withManager(access uint32, f func(*mgr.Mgr) error) error {
	handle, err := windows.OpenSCManager(nil, nil, access)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return errors.New("this needs an administrator: open a command prompt with Run as administrator")
	}
	if err != nil {
		return fmt.Errorf("asking the service control manager: %w", err)
	}
	m := &mgr.Mgr{Handle: handle}
	defer func() { _ = m.Disconnect() }()
	return f(m)
}

// Install registers this program as the service, and configures it.
func Install() error {
	program, err := installable()
	if err != nil {
		return err
	}
	err = withManager(windows.SC_MANAGER_ALL_ACCESS, func(m *mgr.Mgr) error {
		s, err := m.CreateService(Name, program, mgr.Config{
			StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
			DisplayName: displayName, Description: description, ServiceStartName: account,
		}, runArgs()...)
		if errors.Is(err, windows.ERROR_SERVICE_EXISTS) {
			return ErrInstalled
		}
		if err != nil {
			return fmt.Errorf("creating the service: %w", err)
		}
		return s.Close()
	})
	if err != nil {
		return err
	}
	if err := eventlog.InstallAsEventCreate(Name, eventlog.Info|eventlog.Warning|eventlog.Error); err != nil {
		return fmt.Errorf("registering with the Event Log: %w", err)
	}
	return Configure()
}

// installable is this program's path, where only administrators can replace it.
func installable() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	folder, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		return "", fmt.Errorf("finding the folder of programs: %w", err)
	}
	if len(program) <= len(folder) || !strings.EqualFold(program[:len(folder)], folder) || program[len(folder)] != '\\' {
		return "", fmt.Errorf(`this program is at %s, where others than administrators may replace it: copy it to %s\Wacht and run that one`, program, folder)
	}
	return program, nil
}

// Configure sets what the installer's tables can't say: the start after others, what
// happens when the service breaks, time for the goodbye, and its few privileges.
func Configure() error {
	return withService(func(s *mgr.Service) error {
		return errors.Join(
			known("the delayed start", change(s, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1})),
			known("the recovery actions", s.SetRecoveryActions(recovery(), uint32((24*time.Hour).Seconds()))),
			known("recovery after an error", s.SetRecoveryActionsOnNonCrashFailures(true)),
			known("the time to shut down", change(s, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, &preshutdown{uint32(stopping.Milliseconds())})),
			known("the privileges", setPrivileges(s)),
		)
	})
}

// stopping is how long the service may take to say goodbye and to write its spool.
const stopping = 30 * time.Second

func recovery() []mgr.RecoveryAction {
	return []mgr.RecoveryAction{
		{Type: mgr.ServiceRestart, Delay: 10 * time.Second},
		{Type: mgr.ServiceRestart, Delay: time.Minute},
		{Type: mgr.ServiceRestart, Delay: 5 * time.Minute}, // and each time after
	}
}

// preshutdown is SERVICE_PRESHUTDOWN_INFO.
type preshutdown struct{ milliseconds uint32 }

// setPrivileges leaves the service the one privilege that passing through folders
// takes. Others, such as acting as whoever connects to it, it has no use for.
func setPrivileges(s *mgr.Service) error {
	list, err := windows.UTF16FromString("SeChangeNotifyPrivilege")
	if err != nil {
		return err
	}
	list = append(list, 0) // the list's own end
	info := struct{ list *uint16 }{&list[0]}
	return change(s, windows.SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, &info)
}

func change[T any](s *mgr.Service, level uint32, info *T) error {
	return windows.ChangeServiceConfig2(s.Handle, level, (*byte)(unsafe.Pointer(info)))
}

// known leaves out that this Windows has no such setting.
func known(what string, err error) error {
	if err == nil || errors.Is(err, windows.ERROR_INVALID_LEVEL) || errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED) {
		return nil
	}
	return fmt.Errorf("setting %s of the service: %w", what, err)
}

// Uninstall stops and removes the service. State and configuration stay.
func Uninstall(ctx context.Context) error {
	if err := Stop(ctx); err != nil {
		return err
	}
	err := withService(func(s *mgr.Service) error { return s.Delete() })
	if err != nil {
		return fmt.Errorf("removing the service: %w", err)
	}
	if err := eventlog.Remove(Name); err != nil {
		return fmt.Errorf("removing it from the Event Log: %w", err)
	}
	return nil
}

// Start starts the service and waits until it runs.
func Start(ctx context.Context) error {
	return withService(func(s *mgr.Service) error {
		if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return fmt.Errorf("starting the service: %w", err)
		}
		return reach(ctx, s, svc.Running)
	})
}

// Stop stops the service, where it runs, and waits until its process has ended, so that
// the program's file can be replaced.
func Stop(ctx context.Context) error {
	return withService(func(s *mgr.Service) error {
		gone := func() {}
		if status, err := s.Query(); err == nil && status.ProcessId != 0 {
			gone = watchEnd(status.ProcessId)
		}
		if _, err := s.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
			return fmt.Errorf("stopping the service: %w", err)
		}
		if err := reach(ctx, s, svc.Stopped); err != nil {
			return err
		}
		gone()
		return nil
	})
}

// watchEnd returns a function that waits a little for a process to end.
func watchEnd(process uint32) func() {
	handle, err := windows.OpenProcess(windows.SYNCHRONIZE, false, process)
	if err != nil {
		return func() {} // it has ended, or can't be watched
	}
	return func() {
		const most = 5000 // ms: it has said that it is done
		_, _ = windows.WaitForSingleObject(handle, most)
		_ = windows.CloseHandle(handle)
	}
}

// reach waits until the service is in a state: there is nothing that tells of it.
func reach(ctx context.Context, s *mgr.Service, wanted svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopping)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := s.Query()
		switch {
		case err != nil:
			return fmt.Errorf("asking for the service's state: %w", err)
		case status.State == wanted:
			return nil
		case status.State == svc.Stopped:
			return fmt.Errorf("the service has ended with error %d: the Event Log says why, under %s", status.Win32ExitCode, Name)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the service is still %s", stateName(status.State))
		}
	}
}

// Status is how the service fares.
type Status struct {
	State     string // running, stopped, starting or stopping
	Automatic bool   // whether it starts with Windows
	Account   string
	Program   string // with its arguments
	Process   uint32 // 0 when it does not run
	ExitCode  uint32 // of the last end
}

// Query asks how the service fares, which every user may.
func Query() (st Status, err error) {
	err = withManager(windows.SC_MANAGER_CONNECT, func(m *mgr.Mgr) error {
		name, err := windows.UTF16PtrFromString(Name)
		if err != nil {
			return err
		}
		handle, err := windows.OpenService(m.Handle, name, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			return ErrNotInstalled
		}
		if err != nil {
			return fmt.Errorf("opening the service: %w", err)
		}
		s := &mgr.Service{Name: Name, Handle: handle}
		defer s.Close()
		st, err = query(s)
		return err
	})
	return st, err
}

func query(s *mgr.Service) (Status, error) {
	status, err := s.Query()
	if err != nil {
		return Status{}, fmt.Errorf("asking for the service's state: %w", err)
	}
	config, err := configOf(s.Handle)
	if err != nil {
		return Status{}, fmt.Errorf("asking for the service's configuration: %w", err)
	}
	return Status{
		State: stateName(status.State), Automatic: config.StartType == mgr.StartAutomatic,
		Account: windows.UTF16PtrToString(config.ServiceStartName), Program: windows.UTF16PtrToString(config.BinaryPathName),
		Process: status.ProcessId, ExitCode: status.Win32ExitCode,
	}, nil
}

// configOf is what s.Config asks for first: of the rest not every Windows knows all.
func configOf(handle windows.Handle) (*windows.QUERY_SERVICE_CONFIG, error) {
	buf := make([]byte, 8<<10) // the most there can be
	var needed uint32
	config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	if err := windows.QueryServiceConfig(handle, config, uint32(len(buf)), &needed); err != nil {
		return nil, err
	}
	return config, nil
}

func stateName(state svc.State) string {
	switch state {
	case svc.Stopped:
		return "stopped"
	case svc.StartPending:
		return "starting"
	case svc.StopPending:
		return "stopping"
	case svc.Running:
		return "running"
	}
	return fmt.Sprintf("in state %d", state)
}
