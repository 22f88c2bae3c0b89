//go:build unix

package collector

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataFolderIsItsOwnersAlone(t *testing.T) {
	for _, c := range []struct {
		mode fs.FileMode
		says string
	}{
		{0o700, ""}, {0o755, ""}, {0o750, ""}, {0o770, "others can write"}, {0o702, "others can write"}, {fs.ModeSticky | 0o777, "chmod 700"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		err := dataFolder(dir)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("a folder of mode %v gives %v", c.mode, err)
			}
			continue
		}
		if info, statErr := os.Stat(dir); err != nil || statErr != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("a folder of mode %v gives %v, %v, %v", c.mode, info.Mode(), err, statErr)
		}
	}
	made := filepath.Join(t.TempDir(), "a", "b")
	if err := dataFolder(made); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a folder was made as %v, %v", info.Mode(), err)
	}
}

func TestDataFolderOfAnotherIsRefused(t *testing.T) {
	dir := "/"
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := dataFolder(dir); err == nil || !strings.Contains(err.Error(), "belongs to") {
		t.Errorf("another's folder gives %v", err)
	}
}
