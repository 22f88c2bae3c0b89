package config

import (
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// Folder holds everything that the agent keeps: Wacht in the folder of all users'
// data, C:\ProgramData where nobody moved it.
func Folder() string {
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DONT_VERIFY)
	if err != nil {
		data = `C:\ProgramData`
	}
	return filepath.Join(data, "Wacht")
}

func defaultPath() string     { return filepath.Join(Folder(), "agent.yaml") }
func defaultStateDir() string { return filepath.Join(Folder(), "agent") }
func keysFolder() string      { return filepath.Join(Folder(), "secrets") }

// defaultPluginDir is where only administrators can write.
func defaultPluginDir() string { return `C:\Program Files\Wacht\plugins` }

// detectRole takes a Windows that is not sold as a server for a workstation
// (https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_osversioninfoexw).
func detectRole() agentpb.Role {
	const workstation = 1 // VER_NT_WORKSTATION
	if windows.RtlGetVersion().ProductType == workstation {
		return agentpb.Role_WORKSTATION
	}
	return agentpb.Role_SERVER
}
