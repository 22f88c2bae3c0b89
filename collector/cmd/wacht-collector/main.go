// Command wacht-collector is what an MSP runs: it takes the results of agents in,
// keeps incidents, problems and history, serves pages and API, and tells people.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wacht-io/wacht/collector/internal/admin"
)

var version = "development" // by the linker

// Exit codes: 0 is well, 1 failed, 2 was asked wrongly.
const (
	exitFailed = 1
	exitWrong  = 2
)

func main() { os.Exit(runUntilSignal()) }

func runUntilSignal() int {
	return run(untilSignal(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// untilSignal gives a context that the first signal ends. A second one ends the
// process at once, as signals do: stopping may take longer than somebody waits.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// usageError is an error of the command line rather than of the work.
type usageError struct{ error }

func (w usageError) Unwrap() error { return w.error }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := newCLI(stdin, stdout, stderr)
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "wacht-collector: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if _, wrong := errors.AsType[usageError](err); wrong {
		return exitWrong
	}
	if _, wrong := errors.AsType[*admin.WrongError](err); wrong {
		return exitWrong
	}
	return exitFailed
}

// usage marks what cobra finds wrong with arguments as wrong use, and says where
// help is.
func usage(cmd *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w (see '%s --help')", err, cmd.CommandPath())}
}

// one demands a single argument, and says what it is.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, given []string) error {
		if len(given) != 1 {
			return fmt.Errorf("name %s", what)
		}
		return nil
	}
}

// args wraps a check of positional arguments.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usage(cmd, err)
		}
		return nil
	}
}
