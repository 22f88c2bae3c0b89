package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Sync makes every batch durable whose Commit returned before Sync was called. When
// it fails, history is reopened and what was not synced must be appended again.
func (s *Store) Sync() error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.users.Done()
	if err := s.journal.sync(); err != nil {
		s.fail(g, err)
		return fmt.Errorf("syncing history: %w", err)
	}
	return nil
}

// journal makes the TSDB's two write logs durable: the one of all samples (wal) and
// the one of those out of order (wbl). The TSDB writes each batch to them, but
// fsyncs a segment only when the next one begins, and has no call for it. On Linux
// fdatasync works on the file, through whichever descriptor it comes.
type journal struct {
	mu   sync.Mutex
	logs [2]segmentLog
}

// segmentLog is a folder of numbered segments, of which the last one grows.
type segmentLog struct {
	dir      string
	datasync func(*os.File) error
	file     *os.File // the newest segment that a sync saw
	index    int      // its number, -1 before the first sync
	size     int64    // how much of it is synced
	failed   bool     // a sync since the last rewrite
}

func newJournal(data string, datasync func(*os.File) error) *journal {
	j := &journal{}
	for i, name := range []string{"wal", wlog.WblDirName} {
		j.logs[i] = segmentLog{dir: filepath.Join(data, name), datasync: datasync, index: -1}
	}
	return j
}

func (j *journal) sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.logs[0].sync(), j.logs[1].sync())
}

// syncAll syncs every segment, those of earlier processes too: one that was killed
// may have left written what is not yet on the disk.
func (j *journal) syncAll() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for i := range j.logs {
		l := &j.logs[i]
		errs = append(errs, l.close())
		l.index = -1
		errs = append(errs, l.sync())
	}
	return errors.Join(errs...)
}

// rewriteUnsynced copies each segment that the last complete sync did not cover. An
// fsync that failed once may succeed the next time although the data is lost: a copy
// that is synced holds what a replay will see.
func (j *journal) rewriteUnsynced() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.logs {
		if err := j.logs[i].rewrite(); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.logs[0].close(), j.logs[1].close())
}

func (l *segmentLog) sync() (err error) {
	defer func() { l.failed = l.failed || err != nil }()
	first, last, err := wlog.Segments(l.dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && last < 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the segments in %s: %w", l.dir, err)
	}
	for i := max(first, l.index); i <= last; i++ {
		if err := l.syncSegment(i); err != nil {
			return err
		}
	}
	return nil
}

// syncSegment syncs segment i, which is the one of the last sync or a later one.
func (l *segmentLog) syncSegment(i int) error {
	if i == l.index && l.file != nil {
		return l.syncGrown()
	}
	f, err := os.Open(wlog.SegmentName(l.dir, i))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went into a block and a checkpoint, which are synced
	}
	if err != nil {
		return fmt.Errorf("opening a segment: %w", err)
	}
	err = l.close()
	l.file, l.index, l.size = f, i, -1
	return errors.Join(err, l.syncGrown(), l.syncDirs())
}

// syncGrown syncs the newest segment when something was written to its end since:
// also a file without changes costs a flush of the disk's cache.
func (l *segmentLog) syncGrown() error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("asking for the size of a segment: %w", err)
	}
	if info.Size() == l.size {
		return nil
	}
	if err := l.datasync(l.file); err != nil {
		return fmt.Errorf("syncing %s: %w", l.file.Name(), err)
	}
	l.size = info.Size()
	return nil
}

// syncDirs makes the names of new segments durable, and that of their folder.
func (l *segmentLog) syncDirs() error {
	for _, dir := range []string{l.dir, filepath.Dir(l.dir)} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := fileutil.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("opening a folder to sync it: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing folder %s: %w", dir, err)
	}
	return nil
}

func (l *segmentLog) close() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing a segment: %w", err)
	}
	return nil
}

const copySuffix = ".copy"

func (l *segmentLog) rewrite() error {
	if !l.failed {
		return nil
	}
	from := l.index
	if err := l.close(); err != nil {
		return err
	}
	first, last, err := wlog.Segments(l.dir)
	if err != nil {
		return fmt.Errorf("listing the segments in %s: %w", l.dir, err)
	}
	for i := max(first, from, 0); i <= last; i++ {
		if err := l.copySegment(wlog.SegmentName(l.dir, i)); err != nil {
			return fmt.Errorf("writing a segment again that could not be synced: %w", err)
		}
	}
	l.failed, l.index = false, -1
	return nil
}

func (l *segmentLog) copySegment(path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path+copySuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = l.datasync(to)
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, os.Remove(to.Name()))
	}
	return fileutil.Rename(to.Name(), path)
}

// removeCopies removes what an interrupted copy left.
func removeCopies(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), copySuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
