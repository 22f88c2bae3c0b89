//go:build unix

package config

import (
	"os"

	"github.com/wacht-io/wacht/agent/agentpb"
)

func defaultPath() string     { return "/etc/wacht/agent.yaml" }
func defaultStateDir() string { return "/var/lib/wacht-agent" }
func keysFolder() string      { return "/etc/wacht/secrets" }

// defaultPluginDir is where packages put plugins.
func defaultPluginDir() string { return "/usr/lib/wacht/plugins" }

// detectRole takes a machine with a battery for a workstation: it may sleep.
func detectRole() agentpb.Role {
	entries, _ := os.ReadDir("/sys/class/power_supply")
	for _, e := range entries {
		kind, _ := os.ReadFile("/sys/class/power_supply/" + e.Name() + "/type")
		scope, _ := os.ReadFile("/sys/class/power_supply/" + e.Name() + "/scope")
		if string(kind) == "Battery\n" && string(scope) != "Device\n" { // a mouse's battery is Device
			return agentpb.Role_WORKSTATION
		}
	}
	return agentpb.Role_SERVER
}
