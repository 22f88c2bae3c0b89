package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// TestFullDisk fills a tmpfs of 8 MB. The mount is in a namespace of the child's own:
// it needs no root and ends with the child.
func TestFullDisk(t *testing.T) {
	c := child(t, "full", t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func runSystemChild(task, folder string) error {
	if task != "full" {
		return fmt.Errorf("%q is no task", task)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=8m"); err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	return fillDisk(folder)
}

// fillDisk commits until the disk is full, goes on reading and failing, makes room,
// commits again, and opens the file again.
func fillDisk(folder string) error {
	path := filepath.Join(folder, "store.db")
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		return err
	}
	s, _, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	term, err := s.Claim(context.Background(), "s")
	if err != nil {
		return err
	}
	n, err := commitUntilFull(s, 0)
	if err != nil {
		return err
	}
	fmt.Println("full after", n, "commits")
	for range 5 {
		if err := commitBig(s, n); !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("on a full disk: %w", err)
		}
		// A claim needs so little that it may fit still.
		if _, err := s.Claim(context.Background(), "other"); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("a claim on a full disk: %w", err)
		}
	}
	if err := wantBig(s, n); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Commit(context.Background(), []store.Term{term}, nil); err != nil {
		return fmt.Errorf("the term of before: %w", err)
	}
	if n, err = commitUntilFull(s, n); err != nil {
		return err
	}
	fmt.Println("with room again", n, "commits")
	return errors.Join(wantBig(s, n), s.Close(), reopen(path, n))
}

func commitBig(s *boltstore.Store, i int) error {
	value := []byte(strings.Repeat("v", 20_000))
	return s.Commit(context.Background(), nil, []store.Write{
		{Table: numbers, Row: store.Row{Customer: "c", Key: fmt.Sprintf("%06d", i), Value: value}},
	})
}

// commitUntilFull commits rows from number n, and returns the first that did not fit.
func commitUntilFull(s *boltstore.Store, n int) (int, error) {
	for i := n; i < n+10_000; i++ {
		err := commitBig(s, i)
		if errors.Is(err, syscall.ENOSPC) && i > n+10 {
			return i, nil
		}
		if err != nil {
			return i, fmt.Errorf("commit %d: %w", i, err)
		}
	}
	return 0, errors.New("the disk never gets full")
}

func wantBig(s *boltstore.Store, n int) error {
	count := 0
	for row, err := range s.Scan(context.Background(), numbers, "c", store.Range{}) {
		if err != nil {
			return err
		}
		if row.Key != fmt.Sprintf("%06d", count) || len(row.Value) != 20_000 {
			return fmt.Errorf("row %d is %s", count, row.Key)
		}
		count++
	}
	if count != n {
		return fmt.Errorf("%d rows of %d", count, n)
	}
	return nil
}

func reopen(path string, n int) error {
	s, report, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	if report.Damages > 0 {
		return fmt.Errorf("damaged: %v", report.Findings)
	}
	return errors.Join(wantBig(s, n), s.Close())
}
