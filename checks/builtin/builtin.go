// Package builtin is the one table of checks that the agent has compiled in.
package builtin

import (
	"context"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/agent"
	"github.com/wacht-io/wacht/checks/certificate"
	"github.com/wacht-io/wacht/checks/command"
	"github.com/wacht-io/wacht/checks/cpu"
	"github.com/wacht-io/wacht/checks/disk"
	"github.com/wacht-io/wacht/checks/diskio"
	"github.com/wacht-io/wacht/checks/http"
	"github.com/wacht-io/wacht/checks/memory"
	"github.com/wacht-io/wacht/checks/ping"
	"github.com/wacht-io/wacht/checks/process"
	"github.com/wacht-io/wacht/checks/service"
	"github.com/wacht-io/wacht/checks/smart"
	"github.com/wacht-io/wacht/checks/tcp"
	"github.com/wacht-io/wacht/checks/uptime"
)

// Options are what some checks need from the program that they are part of.
type Options struct {
	// AgentStats gives the figures that only the agent knows of itself, under the
	// names of the agent check's metrics (see agent.Figures). It may be nil.
	AgentStats func(context.Context) map[string]float64
	// Version is the program's.
	Version string
}

// All returns every built-in check, by name.
func All(opts Options) []checks.Check {
	return []checks.Check{
		agent.New(opts.AgentStats, opts.Version),
		certificate.New(),
		command.New(),
		cpu.New(),
		disk.New(),
		diskio.New(),
		http.New(),
		memory.New(),
		ping.New(),
		process.New(),
		service.New(),
		smart.New(),
		tcp.New(),
		uptime.New(),
	}
}

// ByName returns one built-in check, or nil.
func ByName(opts Options, name string) checks.Check {
	for _, c := range All(opts) {
		if c.Spec().Name == name {
			return c
		}
	}
	return nil
}
