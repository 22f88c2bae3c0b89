package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/internal/statefile"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
)

// lines keeps what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// unjoined is a machine with an empty state folder and an agent that waits.
func unjoined(t *testing.T, c *uplinktest.Collector) (opts Options, log *lines, start func()) {
	log = &lines{}
	m := newMachine(t, c, newFake(t, "disk"))
	opts = m.opts
	opts.StateDir, opts.Logger = filepath.Join(t.TempDir(), "state"), slog.New(slog.NewTextHandler(log, nil))
	if err := os.Mkdir(opts.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return opts, log, func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan error, 1)
		go func() { ended <- Awaited(ctx, opts) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// connects waits until one more host than before is connected to the collector.
func connects(t *testing.T, c *uplinktest.Collector) {
	t.Helper()
	soon(t, "the host at the collector", func() bool {
		hosts := c.Hosts()
		return len(hosts) > 1 && c.Host(hosts[len(hosts)-1]).Hello != nil
	})
}

func TestAnswersAreUsedOnce(t *testing.T) {
	c := uplinktest.New(t)
	opts, _, start := unjoined(t, c)
	if err := LeaveAnswers(opts, c.Token()); err != nil {
		t.Fatal(err)
	}
	start()
	connects(t, c)
	if _, err := os.Stat(filepath.Join(opts.StateDir, answersName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the answers are left: %v", err)
	}
}

func TestAgentWaitsForItsIdentity(t *testing.T) {
	c := uplinktest.New(t)
	opts, log, start := unjoined(t, c)
	start()
	soon(t, "the advice", func() bool { return log.has("run wacht-agent enroll") })
	if _, err := Enroll(t.Context(), opts, c.Token(), false); err != nil {
		t.Fatal(err)
	}
	connects(t, c)
}

func TestAnswersThatTheCollectorRefuses(t *testing.T) {
	c := uplinktest.New(t)
	opts, log, start := unjoined(t, c)
	used := c.Token()
	other := opts
	other.StateDir = filepath.Join(t.TempDir(), "other")
	if _, err := Enroll(t.Context(), other, used, false); err != nil {
		t.Fatal(err)
	}
	if err := LeaveAnswers(opts, used); err != nil {
		t.Fatal(err)
	}
	start()
	soon(t, "the refusal", func() bool { return log.has("the collector refuses: the token is unknown, was used, or has ended") })
	path := filepath.Join(opts.StateDir, answersName)
	soon(t, "the answers' end", func() bool { _, err := os.Stat(path); return errors.Is(err, fs.ErrNotExist) })
}

func TestAnswersThatAreDamaged(t *testing.T) {
	opts, log, start := unjoined(t, uplinktest.New(t))
	if err := statefile.Write(filepath.Join(opts.StateDir, answersName), []byte("{")); err != nil {
		t.Fatal(err)
	}
	start()
	soon(t, "the error", func() bool { return log.has("the answers of the installer can't be read") })
}

func TestAnswersAreVerified(t *testing.T) {
	c := uplinktest.New(t)
	opts, _, _ := unjoined(t, c)
	if err := LeaveAnswers(opts, c.Token()+"x"); err == nil {
		t.Error("a mistyped token was taken")
	}
	opts.Collector = "no:such:address"
	if err := LeaveAnswers(opts, c.Token()); err == nil {
		t.Error("a collector that is no address was taken")
	}
	opts.Collector = ""
	if err := LeaveAnswers(opts, c.Token()); !errors.Is(err, ErrNoCollector) {
		t.Errorf("no collector was taken: %v", err)
	}
	if entries, _ := os.ReadDir(opts.StateDir); len(entries) > 0 {
		t.Errorf("%d files were left", len(entries))
	}
}
