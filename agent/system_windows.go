package agent

import "github.com/wacht-io/wacht/agent/internal/config"

// Folder holds everything that the agent keeps on Windows.
func Folder() string { return config.Folder() }
