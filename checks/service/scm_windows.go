package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"github.com/wacht-io/wacht/checks"
)

// scm asks Windows' service control manager, with no more rights than every user has.
type scm struct{}

func newManager() manager { return scm{} }

// watched is the Sample: since when a service has been seen running, and the ones
// that were stopped after they had run for long.
type watched struct {
	running map[string]time.Time
	stopped map[string]bool
}

func (scm) list(ctx context.Context, _ *checks.Env, q query) ([]service, any, error) {
	handle, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the service control manager: %w", err)
	}
	m := &mgr.Mgr{Handle: handle}
	defer func() { _ = m.Disconnect() }()
	names := unique(q.units, strings.ToLower)
	if !q.chosen() {
		if names, err = m.ListServices(); err != nil {
			return nil, nil, fmt.Errorf("listing services: %w", err)
		}
		slices.Sort(names)
	}
	last, _ := q.last.(watched)
	now := watched{make(map[string]time.Time), make(map[string]bool)}
	var out []service
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("looking at services: %w", err)
		}
		if s, ok := look(m, name, q.chosen(), last, now); ok {
			out = append(out, s)
		}
	}
	return out, now, nil
}

// look tells how one service fares; ok is false for what does not start by itself
// and was not chosen, and for what this user may not see.
func look(m *mgr.Mgr, name string, chosen bool, last, now watched) (out service, ok bool) {
	handle, err := open(m, name)
	if err != nil {
		return service{name: name, state: "not found", expected: true, why: err.Error()}, chosen
	}
	s := &mgr.Service{Name: name, Handle: handle}
	defer func() { _ = s.Close() }()
	start, err := startType(handle)
	if err != nil || !chosen && start != mgr.StartAutomatic {
		return service{}, false
	}
	status, err := s.Query()
	if err != nil {
		return service{}, false
	}
	out = service{name: name, state: stateName(status.State), expected: true}
	out.active = status.State == svc.Running || status.State == svc.StartPending || status.State == svc.ContinuePending
	out.failed = !out.active && status.Win32ExitCode != 0 && !neverStarted(status)
	out.remember(last, now)
	switch {
	case !chosen && triggered(handle):
		out.expected, out.why = false, "started by an event"
	case out.active:
	case out.failed:
		out.why = fmt.Sprintf("it ended with error %d (%d)", status.Win32ExitCode, status.ServiceSpecificExitCode)
	case neverStarted(status):
		out.why = "it has not been started"
	case !chosen && !now.stopped[name]:
		out.expected, out.why = false, "it has done its work"
	default:
		out.why = "it was stopped"
	}
	return out, true
}

func open(m *mgr.Mgr, name string) (windows.Handle, error) {
	text, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	return windows.OpenService(m.Handle, text, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
}

// startType is how the service is started. The rest of its configuration, which
// s.Config asks for as well, not every Windows has.
func startType(handle windows.Handle) (uint32, error) {
	buf := make([]byte, 8<<10) // the most there can be
	config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	var needed uint32
	err := windows.QueryServiceConfig(handle, config, uint32(len(buf)), &needed)
	return config.StartType, err
}

// remember tells a service that somebody stopped from one that has done its work:
// both end without an error, but the first has run for long.
func (s *service) remember(last, now watched) {
	since, seen := last.running[s.name]
	switch {
	case s.active && seen:
		now.running[s.name] = since
	case s.active:
		now.running[s.name] = time.Now()
	case seen && time.Since(since) >= briefly, last.stopped[s.name]:
		now.stopped[s.name] = true
	}
}

func neverStarted(status svc.Status) bool {
	return status.Win32ExitCode == uint32(windows.ERROR_SERVICE_NEVER_STARTED)
}

// triggered says whether events start the service (SERVICE_TRIGGER_INFO, whose first
// field is the number of triggers).
func triggered(handle windows.Handle) bool {
	const triggerInfo = 8 // SERVICE_CONFIG_TRIGGER_INFO
	buf := make([]byte, 8192)
	var needed uint32
	err := windows.QueryServiceConfig2(handle, triggerInfo, &buf[0], uint32(len(buf)), &needed)
	if errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) {
		return true // nothing but triggers takes so much room
	}
	return err == nil && *(*uint32)(unsafe.Pointer(&buf[0])) > 0
}

func stateName(state svc.State) string {
	names := map[svc.State]string{
		svc.Stopped: "stopped", svc.StartPending: "starting", svc.StopPending: "stopping", svc.Running: "running",
		svc.ContinuePending: "continuing", svc.PausePending: "pausing", svc.Paused: "paused",
	}
	return names[state]
}
