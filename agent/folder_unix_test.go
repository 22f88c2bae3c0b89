//go:build unix

package agent

import (
	"os"
	"strings"
	"testing"
)

// As root in the service's folder nothing is written that the service can't read.
func TestOthersFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder to another user")
	}
	dir := t.TempDir()
	if err := ownFolder(dir); err != nil {
		t.Errorf("root's own folder: %v", err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{StateDir: dir})
	if err == nil || !strings.Contains(err.Error(), "runuser -u nobody --") {
		t.Errorf("nobody's folder, run: %v", err)
	}
	_, err = Enroll(t.Context(), Options{StateDir: dir, Collector: "localhost"}, "wacht1_AAAA", false)
	if err == nil {
		t.Error("a token of nobody joins")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there is %v in nobody's folder, %v", entries, err)
	}
}
