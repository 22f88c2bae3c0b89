// Package prometheustest runs Debian's Prometheus and promtool, so that tests compare
// with the real thing. A test that asks for one skips where it is not installed.
package prometheustest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install prometheus)", name)
	}
	return path
}

var listening = regexp.MustCompile(`Listening on" address=(\S+)`)

// Start runs a Prometheus with a configuration on a data folder until the test ends,
// and returns its address as a URL.
func Start(t testing.TB, data, config string) string {
	t.Helper()
	path := program(t, "prometheus")
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--config.file="+file, "--storage.tsdb.path="+data,
		"--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=10y")
	// The context ends just before the clean-up.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	t.Cleanup(func() {
		<-read
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Log("prometheus:", err)
		}
	})
	ready := make(chan string, 1)
	go func() {
		defer close(read)
		follow(logs, ready)
	}()
	address, ok := <-ready
	if !ok {
		t.Fatal("Prometheus ended before it was ready")
	}
	return "http://" + address
}

// follow reads the log to its end and gives the address once the server is ready.
func follow(logs io.Reader, ready chan<- string) {
	defer close(ready)
	address := ""
	for lines := bufio.NewScanner(logs); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
		if strings.Contains(lines.Text(), "Server is ready") {
			ready <- address
		}
	}
}

// CheckMetrics lets promtool judge metrics in the text format.
func CheckMetrics(t testing.TB, text []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
