package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"

	"github.com/wacht-io/wacht/agent"
)

func pluginCommand() command {
	return command{
		name: "plugin", args: "list | allow FILE", summary: "List the plugins of this machine, or allow one.",
		help: `A plugin is a check that is a program of its own. Its file is called
wacht-plugin-NAME, after the check, lies in the folder of plugins
(/usr/lib/wacht/plugins, or plugin_dir in the machine's own file), and belongs to root.
The agent runs it only as it was when it was allowed.

allow starts the plugin once, shows what it declares, and writes it with its SHA-256
into the machine's own file. Do it again when the file has changed, and restart the
agent. On Linux.

Examples:
  wacht-agent plugin list
  wacht-agent plugin allow /usr/lib/wacht/plugins/wacht-plugin-containers
`,
		flags: func(f *flag.FlagSet, c *call) {
			jsonFlag(f, c)
			f.StringVar(&c.user, "user", "", "run it as `USER` where the agent is root (default: a user that owns nothing)")
			f.Func("secret", "let it have the secret `NAME` of this machine; may be repeated", func(name string) error {
				c.secrets = append(c.secrets, name)
				return nil
			})
		},
		run: plugin,
	}
}

func plugin(ctx context.Context, c *call) error {
	switch {
	case len(c.args) == 1 && c.args[0] == "list":
		return c.listPlugins()
	case len(c.args) == 2 && c.args[0] == "allow":
		return c.allowPlugin(ctx, c.args[1])
	}
	return misused("plugin takes list, or allow and a FILE: see wacht-agent plugin --help")
}

func (c *call) listPlugins() error {
	all, err := agent.Plugins(c.opts)
	if err != nil {
		return err
	}
	if c.json {
		if all == nil {
			all = []agent.Plugin{}
		}
		return c.printJSON(all)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PLUGIN\tFILE\tSTATE")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Path, orElse(p.Refused, "allowed"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (c *call) allowPlugin(ctx context.Context, path string) error {
	c.opts.Logger = nil // the error says it
	p, spec, err := agent.AllowPlugin(ctx, c.opts, agent.Plugin{Path: path, User: c.user, Secrets: c.secrets})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(p)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s\n", spec.Name, spec.Summary)
	describe(w, spec)
	fmt.Fprintf(w, "\nallowed as it is now, with the SHA-256 %s; restart the agent to run it\n", p.SHA256)
	return errors.Join(w.Flush())
}
