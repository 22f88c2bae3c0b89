package engine_test

import (
	"log/slog"
	"testing"
)

// testLog writes the engine's log lines to the test's.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
