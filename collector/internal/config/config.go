// Package config reads the collector's own file. Every key has a default; a key
// that is not known, or a value that can't be, is an error with its line.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/notify"
)

// Config is the file as read.
type Config struct {
	// DataDir holds everything that the collector keeps.
	DataDir string `yaml:"data_dir"`
	// Web is the address of pages, API and metrics, Agents that of the agents' port.
	Web    string `yaml:"web"`
	Agents string `yaml:"agents"`
	// PublicURL is how people reach the pages; notices link to it.
	PublicURL string `yaml:"public_url"`
	// PolicyDir holds the MSP's layers of checks and rules, beside the defaults.
	PolicyDir string `yaml:"policy_dir"`
	// ServiceLevel is a file that replaces the default service level.
	ServiceLevel string        `yaml:"service_level"`
	History      History       `yaml:"history"`
	Silence      Silence       `yaml:"silence"`
	Notify       notify.Config `yaml:"notify"`
}

// History says how long measured values are kept.
type History struct {
	Retention checks.Duration `yaml:"retention"`
	// OutOfOrder is how late a value may come: longer than agents spool, by a day.
	OutOfOrder checks.Duration `yaml:"out_of_order"`
}

// Silence says when a server that is not heard of is an incident.
type Silence struct {
	Server    checks.Duration `yaml:"server"`
	Announced checks.Duration `yaml:"announced"`
}

// The default file and addresses.
const (
	DefaultFile   = "/etc/wacht/collector.yaml"
	DefaultDir    = "/var/lib/wacht-collector"
	DefaultWeb    = "127.0.0.1:7420"
	DefaultAgents = ":7421"
)

// Default is the configuration without a file.
func Default() Config {
	return Config{
		DataDir: DefaultDir, Web: DefaultWeb, Agents: DefaultAgents,
		History: History{
			Retention:  checks.Duration(30 * 24 * time.Hour),
			OutOfOrder: checks.Duration(4 * 24 * time.Hour),
		},
		Silence: Silence{
			Server:    checks.Duration(5 * time.Minute),
			Announced: checks.Duration(30 * time.Minute),
		},
	}
}

// Read reads a file, or the default file when path is empty and there is one.
func Read(path string) (Config, error) {
	given := path != ""
	if !given {
		path = DefaultFile
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !given {
		return Default(), nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// Parse reads a configuration. The error tells everything that is wrong, with its
// lines.
func Parse(data []byte) (Config, error) {
	c := Default()
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return Config{}, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	err := dec.Decode(&c)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return c, errors.Join(plain(err), onlyOne(data), c.check(&root))
}

// onlyOne refuses what follows a first document, which would be ignored.
func onlyOne(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if errors.Is(dec.Decode(&first), io.EOF) || errors.Is(dec.Decode(&second), io.EOF) {
		return nil
	}
	line := second.Line
	if line == 0 { // it can't be read either
		return errors.New("a second document begins after '---': the file is one")
	}
	return fmt.Errorf("line %d: a second document begins: the file is one, so take the '---' before it out", line)
}

var inType = regexp.MustCompile(` in type \S+$`)

// plain tells what YAML found wrong without the library's words: one error a line.
func plain(err error) error {
	found, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var errs []error
	for _, text := range found.Errors {
		errs = append(errs, errors.New(inType.ReplaceAllString(text, "")))
	}
	return errors.Join(errs...)
}

func (c *Config) check(root *yaml.Node) error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("line %d: %s: %s", lineOf(root, strings.Split(key, ".")), key, fmt.Sprintf(format, args...)))
	}
	for _, a := range []struct{ key, value string }{{"web", c.Web}, {"agents", c.Agents}} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			wrong(a.key, "%q is not an address such as 127.0.0.1:7420 or :7420", a.value)
		}
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http")) {
		wrong("public_url", "%q is not an address such as https://wacht.example.com", c.PublicURL)
	}
	for _, d := range []struct {
		key   string
		value checks.Duration
	}{
		{"history.retention", c.History.Retention}, {"history.out_of_order", c.History.OutOfOrder},
		{"silence.server", c.Silence.Server}, {"silence.announced", c.Silence.Announced},
	} {
		if d.value <= 0 {
			wrong(d.key, "must be above zero")
		}
	}
	errs = append(errs, c.checkPairs(root)...)
	return errors.Join(append(errs, c.Notify.Validate()...)...)
}

// checkPairs holds durations against each other, one of which may be a default.
func (c *Config) checkPairs(root *yaml.Node) (errs []error) {
	for _, p := range []struct {
		short, long string
		least, most checks.Duration
		because     string
	}{
		{short: "history.out_of_order", long: "history.retention", least: c.History.OutOfOrder, most: c.History.Retention,
			because: "a value that comes later than values are kept would be gone at once"},
		{short: "silence.server", long: "silence.announced", least: c.Silence.Server, most: c.Silence.Announced,
			because: "a server that said it goes would be missed before one that did not"},
	} {
		if p.least <= p.most || p.most <= 0 {
			continue
		}
		line := max(lineOf(root, strings.Split(p.short, ".")), lineOf(root, strings.Split(p.long, ".")))
		errs = append(errs, fmt.Errorf("line %d: %s (%s) may not be longer than %s (%s): %s", line, p.short, p.least, p.long, p.most, p.because))
	}
	return errs
}

// lineOf finds the line of a key, or 0 where the file does not have it.
func lineOf(n *yaml.Node, path []string) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		return lineOf(n.Content[0], path)
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value != path[0] {
			continue
		}
		if len(path) == 1 {
			return n.Content[i].Line
		}
		return lineOf(n.Content[i+1], path[1:])
	}
	return 0
}

// resolve makes paths of the file relative to it.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.DataDir, &c.PolicyDir, &c.ServiceLevel} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
