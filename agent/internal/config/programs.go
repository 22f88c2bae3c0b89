package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
)

// Program is an entry of the list of Monitoring Plugins programs that run on this
// machine. Each is an instance of the check that runs them.
type Program struct {
	Name   string
	Path   string
	SHA256 [32]byte
	Args   []string
}

// ProgramCheck is the check whose instances the programs are.
const ProgramCheck = "command"

type program struct {
	Path   at[string]   `yaml:"path"`
	SHA256 at[string]   `yaml:"sha256"`
	Args   []at[string] `yaml:"args"`
}

// MaxPrograms bounds the list.
const MaxPrograms = 500

func (p *parser) programs(given map[at[string]]program) {
	for i, name := range slices.SortedFunc(maps.Keys(given), func(a, b at[string]) int { return a.line - b.line }) {
		if i == MaxPrograms {
			p.bad(name.line, "%d programs; at most %d are allowed", len(given), MaxPrograms)
			return
		}
		p.program(name, given[name])
	}
}

func (p *parser) program(name at[string], given program) {
	out := Program{Name: name.value, Path: given.Path.value}
	if err := validInstance(name.value); err != nil {
		p.bad(name.line, "%v", err)
	}
	if !filepath.IsAbs(out.Path) {
		p.bad(max(name.line, given.Path.line), "program %s needs its path, an absolute one", name.value)
	}
	sum, err := hex.DecodeString(given.SHA256.value)
	if err != nil || len(sum) != len(out.SHA256) {
		p.bad(max(name.line, given.SHA256.line), "program %s needs its sha256, 64 hexadecimal digits: wacht-agent program add writes it", name.value)
	} else {
		out.SHA256 = [32]byte(sum)
	}
	for i, arg := range given.Args {
		switch {
		case i == checks.MaxParamValues:
			p.bad(arg.line, "program %s has %d arguments; at most %d are allowed", name.value, len(given.Args), checks.MaxParamValues)
		case len(arg.value) > checks.MaxParamBytes:
			p.bad(arg.line, "an argument of program %s has %d bytes; at most %d are allowed", name.value, len(arg.value), checks.MaxParamBytes)
		}
		out.Args = append(out.Args, arg.value)
	}
	p.conf.Programs = append(p.conf.Programs, out)
}

// runPrograms makes the programs instances of their check.
func (p *parser) runPrograms() {
	for i := range p.conf.Programs {
		entry := &p.conf.Programs[i]
		p.conf.Local[taskName(ProgramCheck, entry.Name)] = entry.Params()
	}
}

// Params are the parameters of the program's instance.
func (e *Program) Params() checks.Params {
	out := checks.Params{"path": {e.Path}, "sha256": {hex.EncodeToString(e.SHA256[:])}}
	if len(e.Args) > 0 {
		out["args"] = e.Args
	}
	return out
}

// AddProgram puts an entry into a file's text, in the place of one of that name, and
// leaves the rest of the text as it is. It returns the entry's line too.
func AddProgram(path string, data []byte, entry *Program) (text []byte, line string, err error) {
	if line, err = entry.text(); err != nil {
		return nil, "", err
	}
	text, err = putEntry(path, data, "programs", entry.Name, line)
	return text, line, err
}

// text is the entry as it is written, on one line.
func (e *Program) text() (string, error) {
	scalar := func(text string) *yaml.Node {
		n := &yaml.Node{}
		n.SetString(text)
		return n
	}
	list := func(kind yaml.Kind, content ...*yaml.Node) *yaml.Node {
		return &yaml.Node{Kind: kind, Style: yaml.FlowStyle, Content: content}
	}
	fields := []*yaml.Node{scalar("path"), scalar(e.Path), scalar("sha256"), scalar(hex.EncodeToString(e.SHA256[:]))}
	if len(e.Args) > 0 {
		args := make([]*yaml.Node, len(e.Args))
		for i, arg := range e.Args {
			args[i] = scalar(arg)
			args[i].Style = yaml.DoubleQuotedStyle
		}
		fields = append(fields, scalar("args"), list(yaml.SequenceNode, args...))
	}
	data, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar(e.Name), list(yaml.MappingNode, fields...)}})
	if err != nil {
		return "", fmt.Errorf("writing the entry: %w", err)
	}
	return string(data[:len(data)-1]), nil
}
