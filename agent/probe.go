package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/plugins/host"
)

// probeName is the program that comes with the agent and serves the checks that act as
// a user does. It is a process of its own so that the agent stays small.
const probeName = "wacht-probe"

// findProbe returns the probe, when it is installed: beside the agent's own program, or
// else in the folder of plugins.
//
// It needs no entry in the machine's own file, since it is trusted as the agent itself
// is: only a file that nobody but root and the agent's own user can change or replace,
// in folders of which the same is true, is run, and only as it was when the agent
// started. Whoever can put it there could put another agent there. A file that others
// can change is not run, and the results of its checks say so.
func findProbe(opts *Options, conf *config.Config, own []string) []host.Plugin {
	if opts.Checks != nil || runtime.GOOS != "linux" {
		return nil
	}
	path := probePath(conf)
	if path == "" {
		return nil
	}
	// One that is refused has no digest, and is refused for the same reason at its start.
	sum, _ := sandbox.Digest(path)
	return []host.Plugin{{
		Name: probeName, Path: path, SHA256: sum, Companion: &host.Companion{Declarations: probeDeclarations(own)},
		MaxMemory: host.DefaultMaxMemory, MaxProcesses: host.DefaultMaxProcesses, MaxCPU: host.DefaultMaxCPU,
	}}
}

func probePath(conf *config.Config) string {
	var folders []string
	if own, err := os.Executable(); err == nil {
		if own, err = filepath.EvalSymlinks(own); err == nil {
			folders = append(folders, filepath.Dir(own))
		}
	}
	for _, folder := range append(folders, conf.PluginDir) {
		path := filepath.Join(folder, probeName)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// probeDeclarations are those of the checks that are declared and not compiled in.
func probeDeclarations(own []string) [][]byte {
	var out [][]byte
	for _, name := range checks.Names() {
		if slices.Contains(own, name) {
			continue
		}
		if data, err := checks.DeclarationFile(name); err == nil {
			out = append(out, data)
		}
	}
	return out
}

// reserved says whether a check's name is the agent's own or the probe's.
func reserved(own []checks.Check, name string) bool {
	if slices.Contains(names(own), name) {
		return true
	}
	_, err := checks.DeclarationFile(name)
	return err == nil
}
