package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/wacht-io/wacht/agent"
)

// version is set when the program is built for a release.
var version string //nolint:gochecknoglobals // the linker sets it

func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}

// command is one of the program's commands.
type command struct {
	name, args, summary string
	help                string
	run                 func(ctx context.Context, c *call) error
	flags               func(f *flag.FlagSet, c *call)
	// verbatim is after how many arguments all that follows is arguments too, whatever
	// it looks like; 0 is never.
	verbatim int
}

// call is one call of a command.
type call struct {
	*streams
	args      []string
	logFormat string
	opts      agent.Options
	json      bool
	token     string
	force     bool
	user      string
	secrets   []string
}

func commands() []command {
	all := []command{enrollCommand(), runCommand(), checkCommand(), discoverCommand(), statusCommand(), checksCommand(), pluginCommand(), programCommand()}
	return append(all, systemCommands()...)
}

const intro = `wacht-agent watches this machine and streams what it finds to a collector.

Usage:
  wacht-agent COMMAND [flags]

Commands:
`

const outro = `
A first run:
  wacht-agent check disk                  what one check finds here, without a collector
  wacht-agent enroll --collector msp.example.net --token wacht1_...
  wacht-agent run

wacht-agent COMMAND --help tells more of a command, wacht-agent --version the version.
`

func printHelp(w io.Writer) {
	fmt.Fprint(w, intro)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, outro)
}

func dispatch(ctx context.Context, std *streams, args []string) error {
	if len(args) == 0 {
		printHelp(std.err)
		return misused("no command is given")
	}
	switch args[0] {
	case "help", "--help", "-help", "-h":
		if len(args) > 1 {
			return dispatch(ctx, std, []string{args[1], "--help"})
		}
		printHelp(std.out)
		return nil
	case "--version", "-version", "version":
		fmt.Fprintf(std.out, "wacht-agent %s (%s %s/%s)\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "manual": // not in the help: packages are made with it
		return manual(std.out, args[1:])
	}
	for _, cmd := range commands() {
		if cmd.name == args[0] {
			return call1(ctx, std, &cmd, args[1:])
		}
	}
	return misused("there is no command %q: see wacht-agent --help", args[0])
}

// call1 parses a command's flags, which may stand before and after its arguments.
func call1(ctx context.Context, std *streams, cmd *command, args []string) error {
	c := &call{streams: std, opts: agent.Options{Version: programVersion()}}
	set := cmd.flagSet(c)
	for {
		err := set.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			cmd.printHelp(std.out, set)
			return nil
		}
		if err != nil {
			return misused("%s: %s: see wacht-agent %s --help", cmd.name, dashes(err.Error()), cmd.name)
		}
		if args = set.Args(); len(args) == 0 {
			break
		}
		c.args, args = append(c.args, args[0]), args[1:]
		if len(c.args) == cmd.verbatim {
			c.args = append(c.args, args...)
			break
		}
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		return misused("--log-format is text or json, not %q", c.logFormat)
	}
	if cmd.args == "" && len(c.args) > 0 {
		return misused("%s takes no argument, but got %q", cmd.name, c.args[0])
	}
	return cmd.run(ctx, c)
}

func (cmd *command) flagSet(c *call) *flag.FlagSet {
	set := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&c.opts.ConfigFile, "config", "", "the machine's own `FILE` (default: "+agent.DefaultConfigFile()+" where it exists)")
	set.StringVar(&c.opts.StateDir, "state-dir", "", "the `DIR` that keeps identity and spool (default: as the file says)")
	set.StringVar(&c.logFormat, "log-format", "text", "text or json, on standard error")
	if cmd.flags != nil {
		cmd.flags(set, c)
	}
	return set
}

// dashes writes flags as this program's help does.
func dashes(text string) string {
	return strings.NewReplacer("flag provided but not defined: -", "there is no flag --", "flag needs an argument: -", "a value is missing after --").Replace(text)
}

func (cmd *command) printHelp(w io.Writer, set *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  wacht-agent %s %s\n\n%s\nFlags:\n", cmd.summary, cmd.name, strings.TrimSpace(cmd.args+" [flags]"), cmd.help)
	set.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-22s %s\n", strings.TrimSpace("--"+f.Name+" "+value), usage)
	})
}

// logger writes to standard error.
func (c *call) logger() *slog.Logger {
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.err, nil))
	}
	return slog.New(slog.NewTextHandler(c.err, nil))
}

func jsonFlag(f *flag.FlagSet, c *call) {
	f.BoolVar(&c.json, "json", false, "print JSON")
}
