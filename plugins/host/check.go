package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// check shows a plugin as a check. It implements checks.Check.
type check struct {
	p    *plugin
	spec *checks.Spec
	yaml []byte
}

// newChecks returns the plugin's check, or those of a companion.
func newChecks(p *plugin) ([]*check, error) {
	if p.Companion == nil {
		spec, yaml, err := p.declaration()
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
		}
		return []*check{{p, spec, yaml}}, nil
	}
	var out []*check
	for _, yaml := range p.Companion.Declarations {
		spec, err := checks.ParseSpec(yaml)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
		}
		out = append(out, &check{p, spec, yaml})
	}
	return out, nil
}

// asked is the name of the check in calls; a program of one check needs none.
func (c *check) asked() string {
	if c.p.Companion == nil {
		return ""
	}
	return c.spec.Name
}

// Spec returns the plugin's declaration or, while it has told none, one without
// parameters and metrics.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover asks the plugin. When it can't be asked, what was discovered last is still
// there, so that the runs say what is the matter.
func (c *check) Discover(ctx context.Context, env *checks.Env) ([]checks.Instance, error) {
	found, err := c.discover(ctx, env)
	switch {
	case err == nil:
		c.p.remember(c.spec.Name, found)
		return found, nil
	case ctx.Err() != nil:
		return nil, err
	}
	return c.p.remembered(c.spec.Name), nil
}

func (c *check) discover(ctx context.Context, env *checks.Env) ([]checks.Instance, error) {
	params := c.defaults(env.Params)
	secrets, err := c.secrets(env, params)
	if err != nil {
		return nil, err
	}
	var found []checks.Instance
	err = c.p.call(ctx, func(ctx context.Context, client pluginpb.CheckClient) error {
		answer, err := client.Discover(ctx, &pluginpb.DiscoverRequest{Check: c.asked(), Params: pluginpb.FromParams(params), Secrets: secrets})
		if err != nil {
			return err
		}
		found, err = pluginpb.ToInstances(answer.GetInstances())
		return err
	})
	return found, err
}

// defaults fills in what a discovery is not given.
func (c *check) defaults(given checks.Params) checks.Params {
	out := checks.Params{}
	for _, p := range c.spec.Parameters {
		if len(p.Default) > 0 {
			out[p.Name] = p.Default
		}
	}
	maps.Copy(out, given)
	return out
}

// remember keeps what a check discovered.
func (p *plugin) remember(check string, found []checks.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, ok := p.known.Found[check]; ok && reflect.DeepEqual(before, found) {
		return
	}
	if p.known.Found == nil {
		p.known.Found = map[string][]checks.Instance{}
	}
	p.known.Found[check] = found
	p.save()
}

// remembered is what a check discovered last, or the check itself.
func (p *plugin) remembered(check string) []checks.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found, ok := p.known.Found[check]; ok {
		return found
	}
	return []checks.Instance{{}}
}

// Run has the plugin test once.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	secrets, err := c.secrets(env, env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	last, _ := env.Last.([]byte)
	var run checks.Run
	err = c.p.call(ctx, func(ctx context.Context, client pluginpb.CheckClient) error {
		answer, err := client.Run(ctx, &pluginpb.RunRequest{Check: c.asked(), Params: pluginpb.FromParams(env.Params), Secrets: secrets, Sample: last})
		if err != nil {
			return err
		}
		run, err = unpack(answer)
		return err
	})
	if err != nil {
		return checks.Run{}, err
	}
	if c.p.Companion == nil && !c.p.shows(c.yaml) {
		return checks.Run{}, fmt.Errorf("plugin %s runs now and has told its declaration: restart the agent to take it up", c.p.Name)
	}
	return run, nil
}

func unpack(answer *pluginpb.RunResponse) (checks.Run, error) {
	run, err := checkpb.FromProto(answer.GetRun())
	if err != nil {
		return checks.Run{}, err
	}
	if sample := answer.GetSample(); len(sample) > pluginpb.MaxSampleBytes {
		return checks.Run{}, fmt.Errorf("its sample has %d bytes; at most %d are allowed", len(sample), pluginpb.MaxSampleBytes)
	} else if len(sample) > 0 {
		run.Sample = sample
	}
	return run, nil
}

// shows says whether a declaration is the one that the plugin has told.
func (p *plugin) shows(yaml []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Equal(p.known.YAML, yaml)
}

// secrets are the credentials that the machine's own file lets the plugin have; for a
// companion it does so by the parameters that name one.
func (c *check) secrets(env *checks.Env, params checks.Params) (map[string]string, error) {
	names := slices.Clone(c.p.Secrets)
	if c.p.Companion != nil {
		for _, p := range c.spec.Parameters {
			if p.Type == checks.TypeSecret {
				names = append(names, params[p.Name]...)
			}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if env.Secrets == nil {
		return nil, errors.New("this machine holds no secrets")
	}
	out := make(map[string]string, len(names))
	for _, name := range names {
		secret, err := env.Secrets.Secret(name)
		if err != nil {
			return nil, err
		}
		out[name] = secret.Reveal()
	}
	return out, nil
}
