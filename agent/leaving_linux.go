package agent

import (
	"bytes"
	"os"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// leaving finds out why the process is being ended. systemd keeps a scheduled
// shutdown in a file, and shuts the door with /run/nologin when it begins
// (systemd-user-sessions.service(8)); without either only the agent stops.
func leaving() agentpb.Goodbye_Reason {
	scheduled, err := os.ReadFile("/run/systemd/shutdown/scheduled")
	closed := fileExists("/run/nologin")
	switch {
	case closed && err == nil && bytes.Contains(scheduled, []byte("MODE=reboot")):
		return agentpb.Goodbye_REBOOT
	case closed:
		return agentpb.Goodbye_SHUTDOWN
	}
	return agentpb.Goodbye_STOP
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
