// Package config reads the machine's own file, and computes from it, from what was
// discovered and from the collector's policy which checks run, and how.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/spool"
	"github.com/wacht-io/wacht/checks"
)

// Config is the machine's own file. What it forbids, no policy allows.
type Config struct {
	// Collector is host:port; the port is 7421 when it is left out.
	Collector string
	StateDir  string
	// SecretsDir holds one file per credential, 0600, named as checks ask for it.
	SecretsDir string
	Role       agentpb.Role
	// Evidence says whether lines of output that help to understand a failure may
	// leave the machine.
	Evidence bool
	// SpoolBytes bounds the spool's file, SpoolMemory what it holds in memory.
	SpoolBytes, SpoolMemory int64
	// Forbid lists checks, and instances as check/instance, that never run here.
	Forbid []string
	// Local holds parameters of this machine by check or check/instance. They win
	// over the policy's.
	Local map[string]checks.Params
	// PluginDir holds the files of plugins; Plugins are those that may run.
	PluginDir string
	Plugins   []Plugin
	// Programs are the Monitoring Plugins programs that run; Local has them too.
	Programs []Program
}

// DefaultPort is where a collector listens for agents.
const DefaultPort = "7421"

// Default is the configuration of a machine without a file.
func Default() *Config {
	return &Config{
		StateDir:    defaultStateDir(),
		SecretsDir:  keysFolder(),
		Role:        detectRole(),
		Evidence:    true,
		SpoolBytes:  spool.DefaultMaxBytes,
		SpoolMemory: spool.DefaultMemoryBytes,
		PluginDir:   defaultPluginDir(),
	}
}

// DefaultPath is the file that is read when no other is named.
func DefaultPath() string { return defaultPath() }

// file is the file as written; at carries the line that an error has to name.
type file struct {
	Collector  at[string] `yaml:"collector"`
	StateDir   at[string] `yaml:"state_dir"`
	SecretsDir at[string] `yaml:"secrets_dir"`
	Role       at[string] `yaml:"role"`
	Evidence   *bool      `yaml:"evidence"`
	Spool      struct {
		MaxBytes    at[size] `yaml:"max_bytes"`
		MemoryBytes at[size] `yaml:"memory_bytes"`
	} `yaml:"spool"`
	Forbid    []at[string]           `yaml:"forbid"`
	Checks    map[at[string]]params  `yaml:"checks"`
	PluginDir at[string]             `yaml:"plugin_dir"`
	Plugins   map[at[string]]plugin  `yaml:"plugins"`
	Programs  map[at[string]]program `yaml:"programs"`
}

type at[T comparable] struct {
	value T
	line  int
}

func (a *at[T]) UnmarshalYAML(n *yaml.Node) error {
	a.line = n.Line
	return n.Decode(&a.value)
}

// size is a number of bytes: 1048576, 512KiB, 256MiB, 1GiB.
type size int64

var sizeRE = regexp.MustCompile(`^([0-9]+)(KiB|MiB|GiB)?$`)

func (s *size) UnmarshalYAML(n *yaml.Node) error {
	m := sizeRE.FindStringSubmatch(n.Value)
	if m == nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is not a size such as 256MiB", n.Line, n.Value)}}
	}
	v, err := strconv.ParseInt(m[1], 10, 40)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: the size %q is too large", n.Line, n.Value)}}
	}
	shift := map[string]int{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
	*s = size(v << shift)
	return nil
}

// params are one check's parameters: a value or a list of them each.
type params map[string]values

type values []string

func (v *values) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*v = values{n.Value}
		return nil
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	*v = list
	return nil
}

// Known are the checks that the file may speak of.
type Known struct {
	Specs []*checks.Spec
	// Untold are checks of plugins that have not told their parameters: those that the
	// file has for them are left out.
	Untold []string
}

// Load reads the file and verifies it whole; the error has one line per mistake,
// each with file and line. A file that does not exist gives the defaults, unless
// it was named (must). Without known, what the file says of checks is left out.
func Load(path string, must bool, known *Known) (*Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data, known)
}

// Parse is Load for a file's content.
func Parse(path string, data []byte, known *Known) (*Config, error) {
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, located(path, err)
	}
	p := parser{path: path, known: known, conf: Default()}
	p.take(&f)
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b mistake) int { return a.line - b.line })
		errs := make([]error, len(p.errs))
		for i, m := range p.errs {
			errs[i] = fmt.Errorf("%s:%d: %s", path, m.line, m.text)
		}
		return nil, errors.Join(errs...)
	}
	return p.conf, nil
}

var (
	lineRE = regexp.MustCompile(`^(?:yaml: )?line ([0-9]+): (.*)$`)
	typeRE = regexp.MustCompile(` (in|into) (type )?\S+$`)
)

// located rewrites the parser's "line N: …" as "file:N: …", and leaves out the
// names of Go types.
func located(path string, err error) error {
	lines := []string{err.Error()}
	var types *yaml.TypeError
	if errors.As(err, &types) {
		lines = types.Errors
	}
	errs := make([]error, len(lines))
	for i, line := range lines {
		if m := lineRE.FindStringSubmatch(line); m != nil {
			errs[i] = fmt.Errorf("%s:%s: %s", path, m[1], typeRE.ReplaceAllString(m[2], ""))
			continue
		}
		errs[i] = fmt.Errorf("%s: %s", path, strings.TrimPrefix(line, "yaml: "))
	}
	return errors.Join(errs...)
}

type mistake struct {
	line int
	text string
}

type parser struct {
	path  string
	known *Known
	conf  *Config
	errs  []mistake
}

func (p *parser) bad(line int, format string, args ...any) {
	p.errs = append(p.errs, mistake{line, fmt.Sprintf(format, args...)})
}

func (p *parser) take(f *file) {
	p.collector(f.Collector)
	p.folder(f.StateDir, &p.conf.StateDir)
	p.folder(f.SecretsDir, &p.conf.SecretsDir)
	p.role(f.Role)
	if f.Evidence != nil {
		p.conf.Evidence = *f.Evidence
	}
	p.size(f.Spool.MaxBytes, spool.MinMaxBytes, &p.conf.SpoolBytes)
	p.size(f.Spool.MemoryBytes, 64<<10, &p.conf.SpoolMemory)
	p.folder(f.PluginDir, &p.conf.PluginDir)
	p.plugins(f.Plugins)
	p.programs(f.Programs)
	p.conf.Local = map[string]checks.Params{}
	if p.known == nil {
		return
	}
	for _, name := range f.Forbid {
		if p.spec(name) != nil {
			p.conf.Forbid = append(p.conf.Forbid, name.value)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(f.Checks), func(a, b at[string]) int { return a.line - b.line }) {
		p.local(name, f.Checks[name])
	}
	p.runPrograms()
}

func (p *parser) collector(v at[string]) {
	if v.line == 0 {
		return
	}
	addr, err := Address(v.value)
	if err != nil {
		p.bad(v.line, "collector: %v", err)
	}
	p.conf.Collector = addr
}

func (p *parser) folder(v at[string], into *string) {
	if v.line == 0 {
		return
	}
	if !filepath.IsAbs(v.value) {
		p.bad(v.line, "%q is not an absolute path", v.value)
	}
	*into = v.value
}

func (p *parser) role(v at[string]) {
	if v.line == 0 {
		return
	}
	switch v.value {
	case "server":
		p.conf.Role = agentpb.Role_SERVER
	case "workstation":
		p.conf.Role = agentpb.Role_WORKSTATION
	default:
		p.bad(v.line, "%q is not a role: use server or workstation", v.value)
	}
}

func (p *parser) size(v at[size], least int64, into *int64) {
	if v.line == 0 {
		return
	}
	if int64(v.value) < least {
		p.bad(v.line, "%d bytes are too few: at least %d are needed", v.value, least)
	}
	*into = int64(v.value)
}

// spec finds the check that a name (check or check/instance) is of.
func (p *parser) spec(name at[string]) *checks.Spec {
	check, _, _ := strings.Cut(name.value, "/")
	for _, s := range p.known.Specs {
		if s.Name == check {
			return s
		}
	}
	names := make([]string, len(p.known.Specs))
	for i, s := range p.known.Specs {
		names[i] = s.Name
	}
	p.bad(name.line, "there is no check %q; there are: %s", check, strings.Join(names, ", "))
	return nil
}

func (p *parser) local(name at[string], given params) {
	spec := p.spec(name)
	if spec == nil || slices.Contains(p.known.Untold, spec.Name) {
		return
	}
	if spec.Name == ProgramCheck {
		p.bad(name.line, "%s: what runs here is listed under programs, as wacht-agent program add writes it", name.value)
		return
	}
	ps := make(checks.Params, len(given))
	for key, v := range given {
		ps[key] = v
	}
	// What is required may come from elsewhere; values are verified here.
	if err := verifyValues(spec, ps); err != nil {
		p.bad(name.line, "%v", err)
	}
	if _, instance, named := strings.Cut(name.value, "/"); named {
		if err := validInstance(instance); err != nil {
			p.bad(name.line, "%v", err)
		}
	}
	p.conf.Local[name.value] = ps
}

// Forbids says whether a check, or one instance of it, never runs here.
func (c *Config) Forbids(check, instance string) bool {
	return slices.Contains(c.Forbid, check) || (instance != "" && slices.Contains(c.Forbid, check+"/"+instance))
}
