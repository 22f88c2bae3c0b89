// Command wacht-plugin-containers is a plugin of the agent: it checks the containers of
// Docker and Podman.
package main

import (
	"github.com/wacht-io/wacht/plugins"
	"github.com/wacht-io/wacht/plugins/cmd/wacht-plugin-containers/containers"
)

func main() { plugins.Serve(containers.New()) }
