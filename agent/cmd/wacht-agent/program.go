package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/wacht-io/wacht/agent"
)

func programCommand() command {
	return command{
		name: "program", args: "list | add ITEM PATH [ARG...]", summary: "List the Monitoring Plugins programs of this machine, or add one.",
		help: `A program of the Monitoring Plugins kind judges for itself: it ends with 0 to 3 for
ok, warning, critical and unknown, and writes a line and figures. The agent runs those
that the machine's own file lists, only as they were when they were added.

add runs the program once with the arguments that follow its PATH, shows what came of
it, and writes it with its SHA-256 into the machine's own file, in the place of the one
of that name. Do it again when the file has changed, and restart the agent, which runs
it as its own user. Where an argument has ${secret:NAME}, that secret of this machine
is put in; others may see it in the list of processes while the program runs. The
policy can set its interval and timeout, or switch it off, as command/ITEM. Flags of
wacht-agent stand before PATH.

Examples:
  wacht-agent program list
  wacht-agent program add load /usr/lib/nagios/plugins/check_load -w 5,4,3 -c 10,8,6
  wacht-agent program add db /usr/lib/nagios/plugins/check_pgsql -H db1 -p '${secret:db}'
`,
		flags: jsonFlag, run: program, verbatim: 3,
	}
}

func program(ctx context.Context, c *call) error {
	switch {
	case len(c.args) == 1 && c.args[0] == "list":
		return c.listPrograms()
	case len(c.args) >= 3 && c.args[0] == "add":
		return c.addProgram(ctx)
	}
	return misused("program takes list, or add with an ITEM and a PATH: see wacht-agent program --help")
}

func (c *call) listPrograms() error {
	all, err := agent.Programs(c.opts)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(all)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROGRAM\tFILE\tSTATE")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Path, orElse(p.Refused, "allowed"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (c *call) addProgram(ctx context.Context) error {
	outcome, line, err := agent.AddProgram(ctx, c.opts, agent.Program{Name: c.args[1], Path: c.args[2], Args: c.args[3:]})
	if err != nil {
		return err
	}
	spec, err := specOf(ctx, c.opts, outcome.Check)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(outcomeJSON(spec, []agent.Outcome{*outcome}))
	}
	if err := printOutcomes(c.out, spec, []agent.Outcome{*outcome}); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nadded under programs: %s\nrestart the agent to run it\n", line)
	return nil
}
