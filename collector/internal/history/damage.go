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

// openRepairing opens the TSDB. Blocks that are damaged are set aside before: the TSDB
// would skip one whose meta.json is, without a word but in its log, and refuse to
// start over another. It cuts off a damaged end of its logs itself; logs that it can't
// open even then are set aside too.
func (s *Store) openRepairing() (*generation, error) {
	at := time.Now().UTC()
	keep := filepath.Join(s.damagedDir(), at.Format("20060102T150405.000000000Z"))
	if err := s.linkLogs(); err != nil {
		return nil, fmt.Errorf("keeping the logs for the case that they are damaged: %w", err)
	}
	if err := s.setBlocksAside(at, keep); err != nil {
		return nil, err
	}
	g, err := s.openTSDB()
	switch {
	case err == nil && corruptions(g.registry) > 0:
		return g, s.reportLogs(at, keep, "a part could not be read; what came before it was kept")
	case err == nil || environmental(err):
		return g, errors.Join(err, s.dropLinks())
	}
	if err := s.removeLogs(); err != nil {
		return nil, err
	}
	if err := s.reportLogs(at, keep, err.Error()); err != nil {
		return nil, err
	}
	return s.openTSDB()
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

// full says that an error means that the disk takes no more.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrDiskFull)
}

// setBlocksAside moves the blocks that can't be opened.
func (s *Store) setBlocksAside(at time.Time, keep string) error {
	entries, err := os.ReadDir(s.data())
	if err != nil {
		return fmt.Errorf("listing the blocks: %w", err)
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil {
			continue
		}
		why := blockError(filepath.Join(s.data(), e.Name()))
		if why == nil {
			continue
		}
		if environmental(why) {
			return fmt.Errorf("opening block %s: %w", e.Name(), why)
		}
		kept := filepath.Join(keep, e.Name())
		if err := moveInto(keep, filepath.Join(s.data(), e.Name()), kept); err != nil {
			return fmt.Errorf("setting a damaged block aside: %w", err)
		}
		s.report(Damage{At: at, What: "block " + e.Name(), Why: why.Error(), Kept: kept})
	}
	return nil
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

func moveInto(dir, from, to string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// links is where the logs have a second name while the TSDB opens them.
func (s *Store) links() string { return filepath.Join(s.damagedDir(), "opening") }

// linkLogs gives the files of the logs a second name: the TSDB deletes what it can't
// repair.
func (s *Store) linkLogs() error {
	if err := os.RemoveAll(s.links()); err != nil { // of a process that was killed
		return err
	}
	for _, part := range logParts {
		to := filepath.Join(s.links(), part)
		if err := os.MkdirAll(to, 0o750); err != nil {
			return err
		}
		if err := linkFiles(filepath.Join(s.data(), part), to); err != nil {
			return err
		}
	}
	return nil
}

// reportLogs keeps what linkLogs linked.
func (s *Store) reportLogs(at time.Time, keep, why string) error {
	kept := filepath.Join(keep, "logs")
	if err := moveInto(keep, s.links(), kept); err != nil {
		return fmt.Errorf("setting damaged logs aside: %w", err)
	}
	s.report(Damage{At: at, What: "logs", Why: why, Kept: kept})
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

// dropLinks removes the second names of the logs, and the folder for damaged files
// when nothing else is in it.
func (s *Store) dropLinks() error {
	if err := os.RemoveAll(s.links()); err != nil {
		return fmt.Errorf("removing the second names of the logs: %w", err)
	}
	entries, err := os.ReadDir(s.damagedDir())
	if err == nil && len(entries) == 0 {
		err = os.Remove(s.damagedDir())
	}
	if err != nil {
		return fmt.Errorf("removing the folder for damaged files: %w", err)
	}
	return nil
}
