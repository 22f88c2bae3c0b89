package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/rows"
)

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("another collector has it open")

// Options say how a file is opened. The zero Options refuse a damaged file.
type Options struct {
	// SetAside starts with what can still be read of a damaged file, and keeps the
	// file itself beside it. Without it a damaged file is refused.
	SetAside bool
	// MaxBytes is how large the file may grow; a commit beyond it gets the error of a
	// full disk. 0 means no limit.
	MaxBytes int
	// Now dates the name of a file that is set aside; time.Now unless given.
	Now func() time.Time
}

// Report is what Open has to tell of the file's health. The zero Report is good news.
type Report struct {
	// SetAside is where the damaged file is kept now.
	SetAside string
	// Rows is how many rows were carried over from it, index entries included.
	Rows int
	// Findings are the damages, at most 20 of them; Damages counts all.
	Findings []string
	Damages  int
	// OneHeader says that one of the file's two headers was torn. A power cut does
	// that to a commit that was not acknowledged; a flipped bit may have taken the
	// last acknowledged commit.
	OneHeader bool
}

// DamageError says what is wrong with a file that Open refused. It is store.ErrDamaged.
type DamageError struct {
	Path     string
	Findings []string
	Damages  int
}

func (e *DamageError) Error() string {
	text := fmt.Sprintf("%s is damaged: %s", e.Path, strings.Join(e.Findings[:min(3, len(e.Findings))], "; "))
	if more := e.Damages - min(3, len(e.Findings)); more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// Unwrap makes errors.Is(err, store.ErrDamaged) true.
func (e *DamageError) Unwrap() error { return store.ErrDamaged }

// Open opens the file, which is made when there is none, after checking all of it.
// The error is ErrInUse when another process has it, and a *DamageError when it is
// damaged and Options do not say what to do then.
func Open(path string, o Options) (*Store, Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	var report Report
	s, err := open(path, o, &report)
	if err != nil {
		return nil, report, fmt.Errorf("opening the store: %w", err)
	}
	return s, report, nil
}

func open(path string, o Options, report *Report) (*Store, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	found, err := check(path)
	if err != nil {
		return nil, err
	}
	report.OneHeader = found.oneHeader
	report.Findings, report.Damages = found.findings, found.lost
	if found.lost > 0 {
		if !o.SetAside {
			return nil, &DamageError{Path: path, Findings: found.findings, Damages: found.lost}
		}
		if err := setAside(path, o.Now(), report); err != nil {
			return nil, err
		}
	}
	return openSound(path, o.MaxBytes)
}

// openSound opens a file that was checked.
func openSound(path string, maxBytes int) (*Store, error) {
	db, err := openBolt(path, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		InitialMmapSize: mapBytes(), MaxSize: maxBytes,
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = growBytes
	if err := checkFormat(db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return newStore(db), nil
}

// openBolt opens a file, or says at once that somebody else has it.
func openBolt(path string, o *bolt.Options) (*bolt.DB, error) {
	o.Timeout = time.Millisecond
	var db *bolt.DB
	err := guarded(func() (err error) {
		db, err = bolt.Open(path, 0o600, o)
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, asFull(err))
	}
	return db, nil
}

// create makes the file when there is none: under another name first, so that a
// power cut leaves no half of one. An empty file is none.
func create(path string) error {
	if exists(path) {
		return nil
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openBolt(fresh, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(putFormat)
	// Somebody else may have been quicker; theirs stays.
	if err == nil && !exists(path) {
		err = os.Rename(fresh, path)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		_ = os.Remove(fresh)
		return asFull(err)
	}
	return syncFolder(path)
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission) {
		// Windows cannot, and makes a rename durable itself.
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// growBytes is how much the file grows at once.
const growBytes = 1 << 20

const format = "1"

var formatKey = []byte("format\x00")

func putFormat(t *bolt.Tx) error {
	b, err := t.CreateBucketIfNotExists([]byte(aboutBucket))
	if err != nil {
		return err
	}
	return b.Put(formatKey, rows.Seal(string(formatKey), []byte(format)))
}

// checkFormat refuses a file that a newer collector wrote, and writes the format to
// one that lost it.
func checkFormat(db *bolt.DB) error {
	var is []byte
	err := db.View(func(t *bolt.Tx) (err error) {
		if b := t.Bucket([]byte(aboutBucket)); b != nil && b.Get(formatKey) != nil {
			is, err = rows.Unseal(formatKey, b.Get(formatKey))
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case is == nil:
		return asFull(db.Update(putFormat))
	case string(is) != format:
		return fmt.Errorf("its format is %s, and this collector knows %s: run the newer collector, or restore a backup", is, format)
	}
	return nil
}
