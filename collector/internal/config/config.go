// Package config reads the collector's own file. Every key has a default; a key
// that is not known, or a value that can't be, is an error with its line.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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

// Parse reads a configuration. Its errors name the line.
func Parse(data []byte) (Config, error) {
	c := Default()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	err := c.check()
	return c, err
}

func (c *Config) check() error {
	var errs []error
	for _, a := range []struct{ key, value string }{{"web", c.Web}, {"agents", c.Agents}} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not an address such as 127.0.0.1:7420 or :7420", a.key, a.value))
		}
	}
	for _, d := range []struct {
		key   string
		value checks.Duration
	}{
		{"history.retention", c.History.Retention}, {"history.out_of_order", c.History.OutOfOrder},
		{"silence.server", c.Silence.Server}, {"silence.announced", c.Silence.Announced},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be above zero", d.key))
		}
	}
	errs = append(errs, c.Notify.Validate()...)
	return errors.Join(errs...)
}

// resolve makes paths of the file relative to it.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.DataDir, &c.PolicyDir, &c.ServiceLevel} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
