// Command wacht-agent watches the machine that it runs on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	limitMemory()
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// limitMemory keeps the agent small where the environment says nothing else
// (https://pkg.go.dev/runtime#hdr-Environment_Variables): its live heap is a few
// MiB, so that collecting at half as much again costs little.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(64 << 20)
	}
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs one command and returns the exit code: 0, 1 when it failed, or 2 when
// it was called wrongly.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := dispatch(ctx, &streams{stdin, stdout, stderr}, args)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "wacht-agent:", err)
		return 2
	}
	fmt.Fprintln(stderr, "wacht-agent:", err)
	return 1
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}
