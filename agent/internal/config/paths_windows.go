package config

import "github.com/wacht-io/wacht/agent/agentpb"

const (
	defaultPath     = `C:\ProgramData\Wacht\agent.yaml`
	defaultStateDir = `C:\ProgramData\Wacht\agent`
	keysFolder      = `C:\ProgramData\Wacht\secrets`
)

// detectRole cannot tell: the file says it.
func detectRole() agentpb.Role { return agentpb.Role_SERVER }
