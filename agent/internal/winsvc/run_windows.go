package winsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Watch runs the agent until ctx ends. When it is told to end, down says whether the
// whole machine goes down.
type Watch func(ctx context.Context, log *slog.Logger, down func() bool) error

// Run lets Windows start and stop the watch, and returns when that has ended. It fails
// in a process that Windows has not started as a service.
func Run(watch Watch) error {
	events, err := eventlog.Open(Name)
	if err != nil {
		return fmt.Errorf("opening the Event Log: %w", err)
	}
	defer events.Close()
	err = svc.Run(Name, &handler{watch: watch, log: slog.New(NewHandler(events))})
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return errors.New("only Windows can run the service: use wacht-agent service start, or wacht-agent run")
	}
	return err
}

// handler answers the service control manager.
type handler struct {
	watch Watch
	log   *slog.Logger
	down  atomic.Bool
}

const accepted = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown

// failed is the exit code of a service that ended by itself (winerror.h). With it
// Windows takes the recovery actions.
const failed = uint32(windows.ERROR_PROCESS_ABORTED)

// Execute is called by Windows. It follows the requests until the watch has ended.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (specific bool, code uint32) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	changes <- svc.Status{State: svc.StartPending}
	go func() { ended <- h.watch(ctx, h.log, h.down.Load) }()
	changes <- svc.Status{State: svc.Running, Accepts: accepted}
	for {
		select {
		case err := <-ended:
			return false, h.end(ctx, err)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				changes <- r.CurrentStatus
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				h.down.Store(r.Cmd != svc.Stop)
				changes <- svc.Status{State: svc.StopPending, WaitHint: uint32(stopping / time.Millisecond)}
				cancel()
			}
		}
	}
}

// end is the exit code of a service whose watch ended so.
func (h *handler) end(ctx context.Context, err error) uint32 {
	switch {
	case err != nil:
		h.log.Error("the agent has ended with an error", "error", err)
		return failed
	case ctx.Err() == nil:
		h.log.Error("the agent has ended by itself")
		return failed
	}
	return 0
}
