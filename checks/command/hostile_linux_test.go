package command_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wacht-io/wacht/checks"
)

// A program that does not want to end is ended with everything that it started, at the
// deadline and not before. It tells through a named pipe that it is at it; then its
// time is over.
func TestHostilePrograms(t *testing.T) {
	const asleep = "71.0293847" // seconds; no other process sleeps as long
	for name, script := range map[string]string{
		"ignores what it can":   `trap '' TERM INT HUP QUIT; echo >"$1"; while :; do sleep ` + asleep + `; done; touch "$2"`,
		"forks and forks":       `i=0; while :; do sleep ` + asleep + ` & i=$((i+1)); [ $i != 200 ] || { echo >"$1"; wait; }; done; touch "$2"`,
		"leaves itself behind":  `(trap '' TERM; sleep ` + asleep + `; touch "$2") & echo >"$1"; wait`,
		"answers too late":      `echo >"$1"; sleep ` + asleep + `; echo 'OK | late=1'; touch "$2"`,
		"closes what it writes": `echo >"$1"; exec >&- 2>&-; sleep ` + asleep + `; touch "$2"`,
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "#!/bin/sh\n"+script+"\n")
			pipe, touched := filepath.Join(filepath.Dir(path), "pipe"), filepath.Join(filepath.Dir(path), "touched")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, deadline := context.WithCancelCause(t.Context())
			go func() {
				_, _ = os.ReadFile(pipe)
				deadline(context.DeadlineExceeded)
			}()
			got, err := run(ctx, params(t, path, pipe, touched))
			if !errors.Is(err, context.DeadlineExceeded) || len(got.Results) > 0 {
				t.Errorf("it gave %v, %v", got.Results, err)
			}
			if left := processes(t, asleep); left > 0 {
				t.Errorf("%d processes of it are left", left)
			}
			if _, err := os.Stat(touched); err == nil {
				t.Error("it went on after its deadline")
			}
		})
	}
}

// processes counts those that have the word among their arguments and run.
func processes(t *testing.T, word string) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		// What is killed has no command line any more.
		if data, err := os.ReadFile(line); err == nil && strings.Contains(string(data), "\x00"+word) {
			n++
		}
	}
	return n
}

func TestEndlessOutput(t *testing.T) {
	for name, script := range map[string]string{"output": "yes", "error": "yes >&2", "one line": `tr '\0' x </dev/zero`} {
		_, err := run(t.Context(), params(t, write(t, "#!/bin/sh\n"+script+"\n")))
		if err == nil || !strings.Contains(err.Error(), "exceeds the limit of 1048576 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Output of the size that is just allowed is read, however little sense it makes.
func TestOutputOfTheLargestSize(t *testing.T) {
	got, err := run(t.Context(), params(t, write(t, "#!/bin/sh\nhead -c 1048576 /dev/zero | tr '\\0' '|'\n")))
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Results[0]; r.Status != checks.OK || r.Summary == "" {
		t.Errorf("%s %q", r.Status, r.Summary)
	}
}
