package containers

import (
	"os"
	"path/filepath"
	"strings"
)

// place is where an engine may listen: pattern as filepath.Glob has it, with * for the
// number of the user of a rootless one.
type place struct{ engine, pattern string }

var places = []place{
	{"docker", "/run/docker.sock"},
	{"podman", "/run/podman/podman.sock"},
	{"docker", "/run/user/*/docker.sock"},
	{"podman", "/run/user/*/podman/podman.sock"},
}

// found is the socket of an engine, with a name for the instance that asks it.
type found struct{ name, path string }

// find lists the sockets there are. Podman's own stand-in for Docker's socket is a link
// to Podman's, and is left out.
func find(places []place) []found {
	var all []found
	for _, p := range places {
		paths, err := filepath.Glob(p.pattern)
		if err != nil {
			continue // only for a bad pattern
		}
		for _, path := range paths {
			if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
				all = append(all, found{p.nameOf(path), path})
			}
		}
	}
	return all
}

// nameOf names an engine after its kind and, for one of a user, the user's number.
func (p place) nameOf(path string) string {
	before, _, rootless := strings.Cut(p.pattern, "*")
	if !rootless {
		return p.engine
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(path, before), "/")
	return p.engine + "-" + user
}
