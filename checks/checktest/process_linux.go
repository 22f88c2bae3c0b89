package checktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openFiles counts this process's open files; the folder that is being read is
// one of them each time.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// childProcesses counts the processes that threads of this one started and have
// not reaped.
func childProcesses(t *testing.T) int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, list := range lists {
		if data, err := os.ReadFile(list); err == nil {
			n += len(strings.Fields(string(data)))
		}
	}
	return n
}
