package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dataFolder makes the folder that holds everything, for its owner alone. One that
// others can write is refused: whoever can put a store there is this collector.
func dataFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the data folder: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the data folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder; name the data folder with --data-dir", dir)
	}
	return private(dir, info)
}

// dbFile is the store's file in a data folder.
func dbFile(dir string) string { return filepath.Join(dir, "wacht.db") }
