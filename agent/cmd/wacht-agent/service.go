package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/wacht-io/wacht/agent"
)

func enrollCommand() command {
	return command{
		name: "enroll", summary: "Join this machine to a collector.",
		help: `Makes a key on this machine and exchanges the token for a certificate. The token
comes from wacht-collector token create, and works once and for a short time. To keep
it out of the list of processes, give --token - and write it to standard input, or
set WACHT_TOKEN. The collector is taken from WACHT_COLLECTOR or the machine's own file
where it is not named. Where the agent is installed as a service, join as the service's
user; the service starts by itself then.

Examples:
  wacht-agent enroll --collector msp.example.net:7421 --token wacht1_...
  runuser -u wacht-agent -- wacht-agent enroll --collector msp.example.net --token wacht1_...
`,
		flags: func(f *flag.FlagSet, c *call) {
			f.StringVar(&c.opts.Collector, "collector", "", "the collector's `HOST:PORT` (port 7421 when left out)")
			f.StringVar(&c.token, "token", "", "the joining `TOKEN`, or - to read it from standard input")
			f.BoolVar(&c.force, "force", false, "replace the identity that this machine has")
		},
		run: enroll,
	}
}

func enroll(ctx context.Context, c *call) error {
	token, err := c.readToken()
	if err != nil {
		return err
	}
	if c.opts.Collector == "" {
		c.opts.Collector = os.Getenv("WACHT_COLLECTOR")
	}
	joined, err := agent.Enroll(ctx, c.opts, token, c.force)
	if errors.Is(err, agent.ErrNoCollector) {
		return misused("enroll: --collector HOST:PORT is missing")
	}
	if errors.Is(err, agent.ErrJoined) {
		return fmt.Errorf("%w: add --force to replace that identity, or start the agent with wacht-agent run", err)
	}
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	fmt.Fprintf(c.out, "joined as host %s; the identity is in %s; start the agent with wacht-agent run\n", joined.HostID, joined.StateDir)
	return nil
}

func (c *call) readToken() (string, error) {
	switch c.token {
	case "":
		if token := os.Getenv("WACHT_TOKEN"); token != "" {
			return token, nil
		}
		return "", misused("enroll: --token TOKEN is missing: make one with wacht-collector token create")
	case "-":
		data, err := io.ReadAll(io.LimitReader(c.in, 4096))
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	return c.token, nil
}

func runCommand() command {
	return command{
		name: "run", summary: "Watch this machine until told to stop.",
		help: `Runs the checks and streams their results to the collector that the machine has
joined. While that is out of reach, results wait on disk. An interrupt or SIGTERM ends
it in order. An HTTPS proxy is taken from HTTPS_PROXY and NO_PROXY.

Example:
  wacht-agent run --state-dir /var/lib/wacht-agent
`,
		run: func(ctx context.Context, c *call) error {
			c.opts.Logger, c.opts.Ready = c.logger(), ready
			return agent.Run(ctx, c.opts)
		},
	}
}

// ready tells systemd, where that started the program and waits to hear it (sd_notify(3)).
func ready() { _, _ = daemon.SdNotify(true, daemon.SdNotifyReady) }

func statusCommand() command {
	return command{
		name: "status", summary: "Tell how the agent that runs here fares.",
		help: `Asks the running agent over a local socket in its state folder: connection, last
acknowledgement, spool, and each check's last and next run.

Example:
  wacht-agent status --json
`,
		flags: jsonFlag,
		run: func(ctx context.Context, c *call) error {
			st, err := agent.AskStatus(ctx, c.opts)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(st)
			}
			return printStatus(c.out, st, time.Now())
		},
	}
}

func (c *call) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func printStatus(out io.Writer, st *agent.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("host", "%s", st.Host)
	if st.Customer != "" {
		row("customer", "%s, site %s", st.Customer, st.Site)
	}
	if st.Connected {
		row("collector", "%s, connected %s", st.Collector, ago(st.Since, now))
	} else {
		row("collector", "%s, not connected: %s", st.Collector, orElse(st.Error, "connecting"))
	}
	row("last acknowledged", "%s", ago(st.LastAck, now))
	if st.SkewSeconds != nil {
		row("clock", "%+.3f s beside the collector's", *st.SkewSeconds)
	}
	row("certificate", "until %s", st.Certificate.Local().Format("2006-01-02 15:04"))
	row("policy", "revision %d", st.PolicyRevision)
	row("spool", "%d runs, %s (%d on disk); since the start %d dropped, %d lost, %d damaged, %d refused",
		st.Spool.Runs, bytesText(float64(st.Spool.Bytes)), st.Spool.OnDisk, st.Spool.Dropped, st.Spool.Lost, st.Spool.Damaged, st.Spool.Refused)
	if st.Spool.DiskFailing {
		row("", "THE DISK DOES NOT TAKE RUNS: they are kept in memory")
	}
	fmt.Fprintf(w, "\nCHECK\tEVERY\tLAST RUN\tSTATUS\tNEXT RUN\tSUMMARY\n")
	for _, t := range st.Tasks {
		next := "in " + max(0, t.NextRun.Sub(now)).Round(time.Second).String()
		if !t.HungSince.IsZero() {
			next = "hangs, began " + ago(t.HungSince, now)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, time.Duration(t.IntervalSeconds*float64(time.Second)), ago(t.LastRun, now), orElse(t.Status, "-"), next, t.Summary)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return max(0, now.Sub(t)).Round(time.Second).String() + " ago"
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
