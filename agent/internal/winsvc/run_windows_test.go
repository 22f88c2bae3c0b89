package winsvc

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sys/windows/svc"
)

// control plays the service control manager.
type control struct {
	t        *testing.T
	requests chan svc.ChangeRequest
	changes  chan svc.Status
	code     chan uint32
}

func run(t *testing.T, log *written, watch Watch) *control {
	c := &control{t, make(chan svc.ChangeRequest), make(chan svc.Status), make(chan uint32, 1)}
	h := &handler{watch: watch, log: slog.New(NewHandler(log))}
	go func() {
		_, code := h.Execute(nil, c.requests, c.changes)
		c.code <- code
	}()
	c.becomes(svc.StartPending)
	c.becomes(svc.Running)
	return c
}

func (c *control) becomes(want svc.State) {
	c.t.Helper()
	if got := <-c.changes; got.State != want {
		c.t.Fatalf("the service is in state %d, not %d", got.State, want)
	}
}

func TestServiceStops(t *testing.T) {
	for cmd, wantDown := range map[svc.Cmd]bool{svc.Stop: false, svc.Shutdown: true, svc.PreShutdown: true} {
		var log written
		wasDown := make(chan bool, 1)
		c := run(t, &log, func(ctx context.Context, _ *slog.Logger, down func() bool) error {
			<-ctx.Done()
			wasDown <- down()
			return nil
		})
		c.requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running}}
		c.becomes(svc.Running)
		c.requests <- svc.ChangeRequest{Cmd: cmd}
		c.becomes(svc.StopPending)
		if down, code := <-wasDown, <-c.code; down != wantDown || code != 0 || len(log) > 0 {
			t.Errorf("command %d: down %v, exit code %d, %q", cmd, down, code, log)
		}
	}
}

// A service that ends by itself says so in its exit code, and Windows starts it again.
func TestServiceFails(t *testing.T) {
	for want, result := range map[string]error{
		"error 3 the agent has ended with an error\r\nerror=\"no disk\"": errors.New("no disk"),
		"error 3 the agent has ended by itself":                          nil,
	} {
		var log written
		c := run(t, &log, func(context.Context, *slog.Logger, func() bool) error { return result })
		if code := <-c.code; code != failed || len(log) != 1 || log[0] != want {
			t.Errorf("exit code %d, %q", code, log)
		}
	}
}

func TestServiceIsRunByWindowsAlone(t *testing.T) {
	if err := Run(nil); err == nil {
		t.Error("a person's process runs as a service")
	}
}
