package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/wacht-io/wacht/agent"
)

// manual prints the manual page, or what a shell completes the program's command
// lines with, made from the commands themselves.
func manual(out io.Writer, args []string) error {
	makers := map[string]func(io.Writer){"man": manPage, "bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(args) != 1 || makers[args[0]] == nil {
		return misused("manual: say which: man, bash, zsh or fish")
	}
	makers[args[0]](out)
	return nil
}

const manHead = `.TH WACHT-AGENT 1 "" "wacht-agent %s" "Wacht"
.SH NAME
wacht\-agent \- watch this machine and stream what it finds to a collector
.SH SYNOPSIS
.B wacht\-agent
.I COMMAND
[\fIargument\fR...] [\fIflag\fR...]
.SH DESCRIPTION
Runs checks of disks, memory, services, connectivity and more, and streams their
results to the collector that the machine has joined. It finds out by itself what
there is to check.
.SH COMMANDS
`

const manTail = `.SH FILES
.TP
.I /etc/wacht/agent.yaml
The machine's own file: the collector, parameters of checks, and what never runs here.
.TP
.I /etc/wacht/agent.env
Environment of the service, such as HTTPS_PROXY.
.TP
.I /etc/wacht/join.env
WACHT_COLLECTOR and WACHT_TOKEN, a line each: the installed service joins with them
and removes the file.
.TP
.I /etc/wacht/secrets
A file for each credential that checks use, readable by the agent's user alone.
.TP
.I /var/lib/wacht\-agent
Identity and spool.
.SH ENVIRONMENT
.TP
.BR WACHT_COLLECTOR ", " WACHT_TOKEN
The collector and the joining token for
.BR "wacht\-agent enroll" .
.TP
.BR HTTPS_PROXY ", " NO_PROXY
The proxy to the collector.
.TP
.BR GOMEMLIMIT ", " GOGC
Memory use, 64MiB and 50 where they are not set.
.SH EXIT STATUS
0 when all went well, 1 when it failed, 2 when it was called wrongly.
.SH SEE ALSO
.BR wacht\-collector (1),
.BR systemctl (1)
`

func manPage(out io.Writer) {
	fmt.Fprintf(out, manHead, roff(programVersion()))
	for _, c := range commands() {
		fmt.Fprintf(out, ".SS %s\n%s\n", roff(strings.TrimSpace(c.name+" "+c.args)), roff(c.summary))
		manText(out, c.help)
		for _, f := range c.allFlags() {
			value, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(out, ".TP\n\\fB%s\\fR \\fI%s\\fR\n%s\n", roff("--"+f.Name), roff(value), roff(usage))
		}
	}
	fmt.Fprint(out, manTail)
}

// manText writes paragraphs, and indented lines as they stand.
func manText(out io.Writer, text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		fmt.Fprintln(out, ".PP")
		verbatim := false
		for line := range strings.Lines(part) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "  ") && !verbatim {
				fmt.Fprint(out, ".RS\n.nf\n")
				verbatim = true
			}
			fmt.Fprintln(out, roff(strings.TrimPrefix(line, "  ")))
		}
		if verbatim {
			fmt.Fprint(out, ".fi\n.RE\n")
		}
	}
}

// roff escapes what groff(7) would take for its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}

func (cmd *command) allFlags() []*flag.Flag {
	var all []*flag.Flag
	cmd.flagSet(&call{}).VisitAll(func(f *flag.Flag) { all = append(all, f) })
	return all
}

// words are what may follow a command: its flags, and the names of checks for a
// command that takes one.
func (cmd *command) words() []string {
	var all []string
	if strings.Contains(cmd.args, "NAME") {
		for _, spec := range agent.Specs(agent.Options{}) {
			all = append(all, spec.Name)
		}
	}
	for _, f := range cmd.allFlags() {
		all = append(all, "--"+f.Name)
	}
	return all
}

func bashCompletion(out io.Writer) {
	var names []string
	fmt.Fprint(out, "_wacht_agent() {\n\tlocal words\n\tcase \"$COMP_CWORD:${COMP_WORDS[1]}\" in\n")
	for _, c := range commands() {
		names = append(names, c.name)
	}
	fmt.Fprintf(out, "\t1:*) words='%s' ;;\n", strings.Join(names, " "))
	for _, c := range commands() {
		fmt.Fprintf(out, "\t*:%s) words='%s' ;;\n", c.name, strings.Join(c.words(), " "))
	}
	fmt.Fprint(out, "\tesac\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n")
	fmt.Fprint(out, "complete -o default -F _wacht_agent wacht-agent\n")
}

func zshCompletion(out io.Writer) {
	fmt.Fprint(out, "#compdef wacht-agent\n\nif ((CURRENT == 2)); then\n\tlocal -a commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(out, "\t\t%s\n", quoted(c.name+":"+c.summary))
	}
	fmt.Fprint(out, "\t)\n\t_describe command commands\n\treturn\nfi\n\ncase $words[2] in\n")
	for _, c := range commands() {
		fmt.Fprintf(out, "%s) compadd -- %s ;;\n", c.name, strings.Join(c.words(), " "))
	}
	fmt.Fprint(out, "esac\n_files\n")
}

func fishCompletion(out io.Writer) {
	for _, c := range commands() {
		fmt.Fprintf(out, "complete -c wacht-agent -f -n __fish_use_subcommand -a %s -d %s\n", c.name, quoted(c.summary))
		for _, word := range c.words() {
			option := "-a " + word
			if name, ok := strings.CutPrefix(word, "--"); ok {
				option = "-l " + name
			}
			fmt.Fprintf(out, "complete -c wacht-agent -n '__fish_seen_subcommand_from %s' %s\n", c.name, option)
		}
	}
}

// quoted puts text between single quotes, which all three shells read alike.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
