// Command wacht-probe serves the checks that act as a user does to the agent that it
// is installed with. The agent starts it when one is due.
package main

import (
	"github.com/wacht-io/wacht/checks/probed"
	"github.com/wacht-io/wacht/plugins"
)

func main() { plugins.Serve(probed.All()...) }
