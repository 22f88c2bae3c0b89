package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Plugin is an entry of the list of plugins that may run on this machine.
type Plugin struct {
	// Name is the check's. The file is called wacht-plugin-NAME.
	Name   string
	SHA256 [32]byte
	// User is whom it runs as; "" leaves that to the agent.
	User string
	// Secrets are the credentials that it gets, by name.
	Secrets []string
	// Memory bounds it in bytes; 0 is the usual bound.
	Memory int64
	Line   int // of the file
}

type plugin struct {
	SHA256  at[string]   `yaml:"sha256"`
	User    at[string]   `yaml:"user"`
	Secrets []at[string] `yaml:"secrets"`
	Memory  at[size]     `yaml:"memory"`
}

// The bounds of the list.
const (
	MaxPlugins      = 50 // a collector takes no more of a host
	minPluginMemory = 16 << 20
)

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (p *parser) plugins(given map[at[string]]plugin) {
	for _, name := range slices.SortedFunc(maps.Keys(given), func(a, b at[string]) int { return a.line - b.line }) {
		p.plugin(name, given[name])
	}
	if n := len(p.conf.Plugins); n > MaxPlugins {
		p.bad(p.conf.Plugins[MaxPlugins].Line, "%d plugins; at most %d are allowed", n, MaxPlugins)
	}
}

func (p *parser) plugin(name at[string], given plugin) {
	out := Plugin{Name: name.value, User: given.User.value, Line: name.line}
	if !pluginName.MatchString(name.value) {
		p.bad(name.line, "%q is no name of a check: use lower case letters, digits and _", name.value)
	}
	sum, err := hex.DecodeString(given.SHA256.value)
	if err != nil || len(sum) != len(out.SHA256) {
		p.bad(max(name.line, given.SHA256.line), "plugin %s needs its sha256, 64 hexadecimal digits: wacht-agent plugin allow writes it", name.value)
	} else {
		out.SHA256 = [32]byte(sum)
	}
	p.size(given.Memory, minPluginMemory, &out.Memory)
	for _, s := range given.Secrets {
		if !secretName.MatchString(s.value) {
			p.bad(s.line, "%q is no name of a secret", s.value)
		}
		out.Secrets = append(out.Secrets, s.value)
	}
	p.conf.Plugins = append(p.conf.Plugins, out)
}

// AllowPlugin puts an entry into a file's text, in the place of one of that name, and
// leaves the rest of the text as it is.
func AllowPlugin(path string, data []byte, entry *Plugin) ([]byte, error) {
	return putEntry(path, data, "plugins", entry.Name, entry.text())
}

// text is the entry as it is written, on one line.
func (e *Plugin) text() string {
	parts := []string{fmt.Sprintf("sha256: %x", e.SHA256)}
	if e.User != "" {
		parts = append(parts, fmt.Sprintf("user: %q", e.User))
	}
	if len(e.Secrets) > 0 {
		parts = append(parts, "secrets: ["+strings.Join(e.Secrets, ", ")+"]")
	}
	if e.Memory > 0 {
		parts = append(parts, fmt.Sprintf("memory: %d", e.Memory))
	}
	return e.Name + ": {" + strings.Join(parts, ", ") + "}"
}
