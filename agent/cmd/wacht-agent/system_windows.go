package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sys/windows/svc/eventlog"

	"github.com/wacht-io/wacht/agent"
	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/winsvc"
)

// systemCommands are the commands that only Windows has.
func systemCommands() []command {
	return []command{{
		name: "service", args: "ACTION", summary: "Install and control the agent as a service of Windows.",
		help: `Actions:
  install     register this program, which has to be under Program Files, as the
              service ` + winsvc.Name + `, with folders that only it and administrators read
  uninstall   stop the service and remove it; identity and configuration stay
  start       start it, and wait until it runs; before the machine has joined it waits
              until you run wacht-agent enroll
  stop        stop it, and wait until it has ended
  status      tell how it fares; this needs no administrator
  run         what Windows calls
  prepare [COLLECTOR TOKEN], purge
              what the installer calls: configure the service and join at its first
              start; delete everything that the agent keeps

It logs to the Event Log, under Application, with the source ` + winsvc.Name + `.

Example:
  wacht-agent service install
  wacht-agent service start
  wacht-agent enroll --collector msp.example.net --token wacht1_...
`,
		run: service,
	}}
}

func service(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return misused("service: the ACTION is missing: install, uninstall, start, stop or status")
	}
	action, rest := c.args[0], c.args[1:]
	if action == "prepare" {
		return prepareLogged(c, rest)
	}
	if len(rest) > 0 {
		return misused("service %s takes no argument, but got %q", action, rest[0])
	}
	actions := map[string]func(context.Context, *call) error{
		"install": install, "uninstall": uninstall, "start": start, "stop": stop, "status": serviceStatus,
		"run": runService, "purge": purge,
	}
	run, ok := actions[action]
	if !ok {
		return misused("service: there is no action %q: use install, uninstall, start, stop or status", action)
	}
	return run(ctx, c)
}

func install(_ context.Context, c *call) error {
	if err := winsvc.Install(); err != nil {
		return err
	}
	if err := secure(c); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "installed; start it with wacht-agent service start, and join with wacht-agent enroll")
	return nil
}

// secure closes the folders to others.
func secure(c *call) error {
	state, err := agent.StateDir(c.opts)
	if err != nil {
		return err
	}
	return winsvc.Secure(agent.Folder(), state)
}

func uninstall(ctx context.Context, c *call) error {
	if err := winsvc.Uninstall(ctx); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "the service is gone; identity and configuration are still in %s\n", agent.Folder())
	return nil
}

func start(ctx context.Context, c *call) error {
	if err := winsvc.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "the service runs")
	return nil
}

func stop(ctx context.Context, c *call) error {
	if err := winsvc.Stop(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "the service is stopped")
	return nil
}

func serviceStatus(_ context.Context, c *call) error {
	st, err := winsvc.Query()
	if err != nil {
		return err
	}
	begins := "by hand"
	if st.Automatic {
		begins = "with Windows"
	}
	fmt.Fprintf(c.out, "state    %s\nstarts   %s\naccount  %s\nprogram  %s\n", st.State, begins, st.Account, st.Program)
	if st.Process != 0 {
		fmt.Fprintf(c.out, "process  %d\n", st.Process)
	}
	if st.State == "stopped" && st.ExitCode != 0 {
		fmt.Fprintf(c.out, "ended    with error %d\n", st.ExitCode)
	}
	return nil
}

// runService is the service's own process.
func runService(_ context.Context, c *call) error {
	return winsvc.Run(func(ctx context.Context, log *slog.Logger, down func() bool) error {
		opts := c.opts
		opts.Logger = log
		opts.Leaving = func() agentpb.Goodbye_Reason {
			if down() {
				return agentpb.Goodbye_SHUTDOWN
			}
			return agentpb.Goodbye_STOP
		}
		return agent.Awaited(ctx, opts)
	})
}

// prepareLogged is prepare, for an installer that shows nobody what a program writes.
func prepareLogged(c *call, args []string) error {
	err := prepare(c, args)
	if err == nil {
		return nil
	}
	if events, openErr := eventlog.Open(winsvc.Name); openErr == nil {
		_ = events.Error(winsvc.EventError, "the installation failed: "+err.Error()) // it is returned as well
		_ = events.Close()
	}
	return err
}

// prepare configures a service that the installer has registered. The collector and
// the token are kept for its start, which may find the network.
func prepare(c *call, args []string) error {
	if c.opts.ConfigFile != "" || c.opts.StateDir != "" || len(args) != 0 && len(args) != 2 {
		return misused("service prepare takes COLLECTOR and TOKEN, or nothing")
	}
	if err := winsvc.Configure(); err != nil {
		return err
	}
	if err := secure(c); err != nil {
		return err
	}
	if len(args) == 0 || strings.TrimSpace(args[0]+args[1]) == "" {
		return nil
	}
	opts := c.opts
	opts.Collector = args[0]
	return agent.LeaveAnswers(opts, args[1])
}

// purge deletes what the agent keeps.
func purge(_ context.Context, c *call) error {
	if c.opts.ConfigFile != "" || c.opts.StateDir != "" {
		return misused("service purge deletes %s and nothing else", agent.Folder())
	}
	if st, err := winsvc.Query(); err == nil && st.State != "stopped" {
		return fmt.Errorf("the service is %s: stop it first", st.State)
	}
	return winsvc.Purge(agent.Folder())
}
