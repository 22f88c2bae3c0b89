package notify

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// Config is the section notify of the collector's configuration: a list of channels.
//
//	notify:
//	  - name: ops
//	    type: webhook
//	    url: https://desk.example.net/wacht
//	    secret_file: /etc/wacht/ops.secret
//	    priorities: [P1, P2]
//	    problems: priorities
//	    fallback: mail
//	  - name: mail
//	    type: smtp
//	    host: mail.example.net
//	    from: wacht@example.net
//	    to: [desk@example.net]
type Config []ChannelConfig

// ChannelConfig is one channel: what all kinds have, and the options of its kind.
type ChannelConfig struct {
	Common
	// Options are nil when the type is unknown.
	Options notice.Options

	line int
}

const maxWorkers = 32

// The values of Common.Problems.
const (
	ProblemsAll        = "true"
	ProblemsNone       = "false"
	ProblemsByPriority = "priorities"
)

// Common is what every channel has.
type Common struct {
	Name string `yaml:"name"`
	// Type is a kind of channel: webhook or smtp.
	Type string `yaml:"type"`
	// Customers, Priorities and Events say what the channel hears of; without them it
	// hears of all. A fallback hears of what could not be delivered in any case.
	Customers  []string `yaml:"customers"`
	Priorities []string `yaml:"priorities"`
	Events     []string `yaml:"events"`
	// Problems says whether the channel hears of problems, what is slowly going wrong:
	// true, false, or priorities for those of its Priorities. Unless given, a channel
	// without Priorities does: mail to the desk, but not a pager.
	Problems string `yaml:"problems"`
	// Workers is how many deliveries may be under way at once, 1 to 32; one unless
	// given. A receiver that is slow needs more; each may be repeated after a fault.
	Workers int `yaml:"workers"`
	// Fallback names the channel that is told when this one could not deliver.
	Fallback string `yaml:"fallback"`
}

// UnmarshalYAML reads a channel, and refuses keys that neither all channels nor its
// kind have.
func (c *ChannelConfig) UnmarshalYAML(node *yaml.Node) error {
	c.line = node.Line
	if err := node.Decode(&c.Common); err != nil {
		return err
	}
	if made, known := kinds()[c.Type]; known {
		c.Options = made()
		if err := node.Decode(c.Options); err != nil {
			return err
		}
	}
	return c.unknownKeys(node)
}

func (c *ChannelConfig) unknownKeys(node *yaml.Node) error {
	known := keysOf(&c.Common)
	if c.Options == nil {
		// Validate names the type that is not known; its keys are not either.
		return nil
	}
	maps.Copy(known, keysOf(c.Options))
	var errs []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i]; !known[key.Value] {
			errs = append(errs, fmt.Errorf("line %d: %s is no key of a channel of type %s; there are %s",
				key.Line, key.Value, c.Type, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	return errors.Join(errs...)
}

// keysOf returns the YAML keys of a pointer to a struct.
func keysOf(v any) map[string]bool {
	out := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); name != "" && name != "-" {
			out[name] = true
		}
	}
	return out
}

// Validate says all that is wrong, each with the line where the channel stands. It
// reads secret files, and does not use the network.
func (c *Config) Validate() []error {
	var errs []error
	names := map[string]bool{}
	for _, ch := range *c {
		for _, err := range ch.validate(names) {
			errs = append(errs, fmt.Errorf("line %d: channel %q: %w", ch.line, ch.Name, err))
		}
		names[ch.Name] = true
	}
	for _, ch := range *c {
		if ch.Fallback != "" && (!names[ch.Fallback] || ch.Fallback == ch.Name) {
			errs = append(errs, fmt.Errorf("line %d: channel %q: fallback: %q is not another channel", ch.line, ch.Name, ch.Fallback))
		}
	}
	return errs
}

func (c *ChannelConfig) validate(taken map[string]bool) []error {
	var errs []error
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`).MatchString(c.Name) {
		errs = append(errs, errors.New("name: want up to 63 of a-z, 0-9, _ and -"))
	}
	if taken[c.Name] {
		errs = append(errs, errors.New("name: there is another channel of this name"))
	}
	if c.Workers < 0 || c.Workers > maxWorkers {
		errs = append(errs, fmt.Errorf("workers: want 1 to %d, not %d", maxWorkers, c.Workers))
	}
	errs = append(errs, unknown("priorities", c.Priorities, []string{"P1", "P2", "P3", "P4"})...)
	errs = append(errs, unknown("events", c.Events, notice.Events())...)
	errs = append(errs, c.checkProblems()...)
	if c.Options == nil {
		return append(errs, fmt.Errorf("type: %q is none of %s", c.Type, strings.Join(kindNames(), ", ")))
	}
	return append(errs, c.Options.Validate()...)
}

func (c *Common) checkProblems() []error {
	if c.Problems == "" || c.Problems == ProblemsNone {
		return nil
	}
	if errs := unknown("problems", []string{c.Problems}, []string{ProblemsAll, ProblemsNone, ProblemsByPriority}); errs != nil {
		return errs
	}
	named := func(event string) bool { return holds(c.Events, event) }
	if !slices.ContainsFunc(notice.ProblemEvents(), named) {
		return []error{fmt.Errorf("problems: %s, but events names none of %s", c.Problems, strings.Join(notice.ProblemEvents(), ", "))}
	}
	return nil
}

func unknown(key string, words, known []string) (errs []error) {
	for _, word := range words {
		if !slices.Contains(known, word) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %s", key, word, strings.Join(known, ", ")))
		}
	}
	return errs
}

// Open makes the channels of a valid configuration, by name. The caller closes them.
func (c *Config) Open(env notice.Env) (map[string]notice.Channel, error) {
	out := map[string]notice.Channel{}
	for _, ch := range *c {
		env.Name = ch.Name
		made, err := ch.Options.New(env)
		if err != nil {
			for _, opened := range out {
				err = errors.Join(err, opened.Close())
			}
			return nil, fmt.Errorf("channel %s: %w", ch.Name, err)
		}
		out[ch.Name] = made
	}
	return out, nil
}
