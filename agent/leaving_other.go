//go:build !linux

package agent

import "github.com/wacht-io/wacht/agent/agentpb"

// leaving can't tell why the process is being ended.
func leaving() agentpb.Goodbye_Reason { return agentpb.Goodbye_STOP }
