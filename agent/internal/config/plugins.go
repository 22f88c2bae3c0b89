package config

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
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
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(data) == 0 {
		lines = nil
	}
	section, old, err := findPlugins(data, entry.Name)
	if err != nil {
		return nil, located(path, err)
	}
	text := "  " + entry.text()
	switch {
	case section == nil:
		lines = append(lines, "plugins:", text)
	case section.Kind == yaml.ScalarNode && section.Tag == "!!null":
		lines = slices.Insert(lines, section.Line, text)
	case section.Style&yaml.FlowStyle != 0 || section.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: write plugins one to a line, each under the other", path, section.Line)
	case old != nil:
		indent := strings.Repeat(" ", old.Column-1)
		lines = slices.Replace(lines, old.Line-1, old.end, indent+entry.text())
	default:
		first := section.Content[0]
		lines = slices.Insert(lines, first.Line-1, strings.Repeat(" ", first.Column-1)+entry.text())
	}
	out := []byte(strings.Join(lines, "\n") + "\n")
	if _, err := Parse(path, out, nil); err != nil {
		return nil, fmt.Errorf("the file would be wrong with the entry in it: %w", err)
	}
	return out, nil
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

// found is where an entry is.
type found struct {
	*yaml.Node
	end int // its last line
}

func findPlugins(data []byte, name string) (section *yaml.Node, entry *found, err error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil || len(doc.Content) == 0 {
		if len(bytes.TrimSpace(data)) > 0 && err != nil && err.Error() != "EOF" {
			return nil, nil, err
		}
		return nil, nil, nil
	}
	if section = valueOf(doc.Content[0], "plugins"); section == nil || section.Kind != yaml.MappingNode {
		return section, nil, nil
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		if key := section.Content[i]; key.Value == name {
			return section, &found{key, lastLine(section.Content[i+1])}, nil
		}
	}
	return section, nil, nil
}

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
