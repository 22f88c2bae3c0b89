// Package probed is the one table of checks that wacht-probe serves: those that act as
// a user does, with libraries that would make the agent larger. The agent knows their
// declarations, and never imports this package.
package probed

import (
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/dns"
	"github.com/wacht-io/wacht/checks/internet"
)

// All returns every check of wacht-probe, by name.
func All() []checks.Check {
	return []checks.Check{
		dns.New(),
		internet.New(),
	}
}
