package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Damage is a part of the history that could not be read.
type Damage struct {
	At time.Time
	// What was damaged, and how it showed.
	What, Why string
	// Kept is where the damaged files are now.
	Kept string
}

// Damage returns what was found damaged since Open, oldest first.
func (s *Store) Damage() []Damage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.damage)
}

func (s *Store) report(d Damage) {
	s.logger.Error("History was damaged", "what", d.What, "why", d.Why, "kept", d.Kept)
	s.metrics.damaged.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damage = append(s.damage, d)
}

// logParts are the folders that together hold what is in no block yet.
var logParts = [...]string{"wal", wlog.WblDirName, "chunks_head"}

// openRepairing opens the TSDB. It lets the TSDB cut off a damaged end of its logs;
// what it can't open is set aside: first the blocks that are damaged, then the logs.
func (s *Store) openRepairing() (*generation, error) {
	at := time.Now().UTC()
	keep := filepath.Join(s.damagedDir(), at.Format("20060102T150405.000000000Z"))
	logs := filepath.Join(keep, "logs")
	if err := s.linkLogs(logs); err != nil {
		return nil, fmt.Errorf("keeping the logs for the case that they are damaged: %w", err)
	}
	g, err := s.openTSDB()
	if err != nil && !environmental(err) {
		if s.setBlocksAside(at, keep) > 0 {
			g, err = s.openTSDB()
		}
	}
	if err != nil && !environmental(err) {
		why := err
		if err := s.removeLogs(); err != nil {
			return nil, errors.Join(why, err)
		}
		s.report(Damage{At: at, What: "logs", Why: why.Error(), Kept: logs})
		g, err = s.openTSDB()
		return g, err
	}
	if err == nil && corruptions(g.registry) > 0 {
		s.report(Damage{At: at, What: "logs", Why: "a part could not be read; what came before it was kept", Kept: logs})
		return g, nil
	}
	return g, errors.Join(err, s.dropLinks(keep, logs))
}

// environmental says that an error comes from the machine, not from the files, so
// that setting files aside would be wrong.
func environmental(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains([]syscall.Errno{
		syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EFBIG,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR,
	}, errno)
}

// setBlocksAside moves the blocks that can't be opened and returns how many.
func (s *Store) setBlocksAside(at time.Time, keep string) (moved int) {
	entries, err := os.ReadDir(s.data())
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil {
			continue
		}
		why := blockError(filepath.Join(s.data(), e.Name()))
		if why == nil || environmental(why) {
			continue
		}
		kept := filepath.Join(keep, e.Name())
		if err := os.Rename(filepath.Join(s.data(), e.Name()), kept); err != nil {
			s.logger.Error("A damaged block can't be set aside", "block", e.Name(), "error", err)
			continue
		}
		moved++
		s.report(Damage{At: at, What: "block " + e.Name(), Why: why.Error(), Kept: kept})
	}
	return moved
}

// blockError says why the TSDB can't open a block, or nil.
func blockError(dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	b, err := tsdb.OpenBlock(nil, dir, chunkenc.NewPool(), tsdb.DefaultPostingsDecoderFactory)
	if err != nil {
		return err
	}
	return b.Close()
}

// linkLogs gives the files of the logs a second name in keep: the TSDB deletes what
// it can't repair.
func (s *Store) linkLogs(keep string) error {
	for _, part := range logParts {
		from, to := filepath.Join(s.data(), part), filepath.Join(keep, part)
		if err := os.MkdirAll(to, 0o750); err != nil {
			return err
		}
		if err := linkFiles(from, to); err != nil {
			return err
		}
	}
	return nil
}

// linkFiles links the files of a folder, and of the folders in it (checkpoints).
func linkFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			err = errors.Join(os.MkdirAll(b, 0o750), linkFiles(a, b))
		} else {
			err = os.Link(a, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) removeLogs() error {
	for _, part := range logParts {
		if err := os.RemoveAll(filepath.Join(s.data(), part)); err != nil {
			return fmt.Errorf("starting new logs: %w", err)
		}
	}
	return nil
}

// dropLinks removes the second names of the logs, and the folders that are empty
// then.
func (s *Store) dropLinks(keep, logs string) error {
	if err := os.RemoveAll(logs); err != nil {
		return fmt.Errorf("removing the copy of the logs: %w", err)
	}
	for _, dir := range []string{keep, s.damagedDir()} {
		if err := os.Remove(dir); err != nil {
			return nil //nolint:nilerr // it holds what was set aside
		}
	}
	return nil
}
