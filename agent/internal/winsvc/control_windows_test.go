package winsvc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecure(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "Wacht")
	state := filepath.Join(folder, "agent")
	for range 2 { // made, then found
		if err := Secure(folder, state); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(state, "identity.pem"), nil, 0o600); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Secure(file, state); err == nil || !strings.Contains(err.Error(), "where a folder belongs") {
		t.Errorf("a file is taken for a folder: %v", err)
	}
}

func TestProgramsThatOthersCanReplaceAreNotInstalled(t *testing.T) {
	if err := Install(); err == nil || !strings.Contains(err.Error(), "copy it to C:\\Program Files\\Wacht") {
		t.Errorf("the test's program is installed: %v", err)
	}
}
