// Command wacht-smart-helper asks drives about their health for an agent that is not
// root. Its socket starts it; it takes the place of a drive in its own list, never a
// name or a path, and ends when nobody asks any more.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/checks/smart/drives"
)

// maxReport bounds what smartctl may write at a time, in bytes; it must fit into a
// reply with what is around it.
const maxReport = drives.MaxReply / 2

const usage = `wacht-smart-helper runs smartctl as root for an agent that is not root.

It is started by its socket, and not by hand:
  systemctl enable --now wacht-smart-helper.socket

Anyone who may connect to the socket, and is root or the agent's user or group, can
ask for the list of drives and for what each says of its health:
  echo list | socat - UNIX-CONNECT:/run/wacht/smart.sock
  echo GENERATION INDEX | socat - UNIX-CONNECT:/run/wacht/smart.sock

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// flags are what the unit chooses.
type flags struct {
	user, group, smartctl string
	idle                  time.Duration
}

// Main serves the socket that systemd passes and returns the exit code: 0, 1 when it
// failed, or 2 when it was called wrongly.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	set := flag.NewFlagSet("wacht-smart-helper", flag.ContinueOnError)
	set.StringVar(&f.user, "user", "wacht-agent", "the agent's user, by name or number")
	set.StringVar(&f.group, "group", "wacht-agent", "the agent's group, by name or number")
	set.StringVar(&f.smartctl, "smartctl", "", "where smartctl is; the usual places are searched without it")
	set.DurationVar(&f.idle, "idle", 30*time.Second, "end when nobody has asked for so long")
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(set.Output(), usage)
		set.PrintDefaults()
	}
	for _, arg := range args {
		if arg == "-h" || arg == "--help" || arg == "-help" {
			set.SetOutput(stdout)
		}
	}
	switch err := set.Parse(args); {
	case err == flag.ErrHelp: //nolint:errorlint // Parse gives it bare
		return 0
	case err != nil:
		return 2
	case set.NArg() > 0 || f.idle <= 0:
		fmt.Fprintln(stderr, "wacht-smart-helper: takes no arguments, and --idle must be more than 0; see --help")
		return 2
	}
	if err := f.serve(ctx, stderr); err != nil {
		fmt.Fprintln(stderr, "wacht-smart-helper:", err)
		return 1
	}
	return 0
}

func (f flags) serve(ctx context.Context, stderr io.Writer) error {
	callers, err := resolve(f.user, f.group)
	if err != nil {
		return err
	}
	listener, err := passed()
	if err != nil {
		return err
	}
	defer listener.Close()
	return serve(ctx, options{
		listener: listener,
		callers:  callers,
		idle:     f.idle,
		find:     f.find,
		log:      slog.New(slog.NewTextHandler(stderr, nil)),
	})
}

// find finds smartctl, at each list anew: it may be installed later.
func (f flags) find() (asker, error) {
	box := sandbox.New(sandbox.Options{MaxOutput: maxReport})
	if f.smartctl != "" {
		return &drives.Smartctl{Path: f.smartctl, Sandbox: box}, nil
	}
	return drives.Find(box)
}
