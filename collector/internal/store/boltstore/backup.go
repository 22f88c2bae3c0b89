package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// A backup is a line that says what it is, the length of the file (8 bytes, big
// endian), the file, and the SHA-256 of all that.
const backupLine = "wacht store backup 1\n"

// ErrExists says that a restore would replace a file.
var ErrExists = errors.New("it exists already")

var errNoBackup = errors.New("it is not a backup of a store, or not a whole one")

// Backup writes a copy as of one moment, while commits go on. The file grows while a
// slow writer is at it: the pages that the copy still needs are not used again.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	to := &backupWriter{ctx: ctx, w: w}
	out := io.MultiWriter(to, sum)
	err := guarded(func() error {
		return s.db.View(func(t *bolt.Tx) error {
			head := binary.BigEndian.AppendUint64([]byte(backupLine), uint64(t.Size()))
			if _, err := out.Write(head); err != nil {
				return err
			}
			_, err := t.WriteTo(out)
			return err
		})
	})
	if err == nil {
		_, err = to.Write(sum.Sum(nil))
	}
	if err != nil {
		return fmt.Errorf("writing a backup: %w", cmp.Or(to.err, err))
	}
	return nil
}

// backupWriter stops a copy when the context ends, and keeps the error of the
// writer, of which bbolt passes on the text alone.
type backupWriter struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (b *backupWriter) Write(part []byte) (n int, err error) {
	if err = b.ctx.Err(); err == nil {
		n, err = b.w.Write(part)
	}
	b.err = cmp.Or(b.err, err)
	return n, err
}

// RestoreOptions say what a restore may do.
type RestoreOptions struct {
	// Replace allows a restore over a file that exists, which is kept beside it.
	Replace bool
	// Now dates the name of the file that was replaced; time.Now unless given.
	Now func() time.Time
}

// Restore puts the file of a backup at path, after checking that the backup is whole
// and sound; until then nothing there changes. It never replaces a file that a
// collector has open (ErrInUse), and another one only if it may (ErrExists). It
// returns the name under which a replaced file is kept.
func Restore(r io.Reader, path string, o RestoreOptions) (kept string, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if kept, err = restore(r, path, o); err != nil {
		return "", fmt.Errorf("restoring %s: %w", path, err)
	}
	return kept, nil
}

func restore(r io.Reader, path string, o RestoreOptions) (kept string, err error) {
	if exists(path) && !o.Replace {
		return "", ErrExists
	}
	unlock, err := lock(path)
	if err != nil {
		return "", err
	}
	defer unlock()
	fresh := path + ".restored"
	if err := receive(r, fresh); err != nil {
		_ = os.Remove(fresh)
		return "", err
	}
	if exists(path) {
		kept = path + ".replaced-" + o.Now().UTC().Format("20060102T150405.000Z")
		if err := os.Link(path, kept); err != nil {
			if err := os.Rename(path, kept); err != nil {
				return "", err
			}
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return "", err
	}
	return kept, syncFolder(path)
}

// lock holds a file that exists, damaged or not, until unlock.
func lock(path string) (unlock func(), err error) {
	if !exists(path) {
		return func() {}, nil
	}
	db, err := openBolt(path, &bolt.Options{ReadOnly: true})
	if errors.Is(err, ErrInUse) {
		return nil, err
	}
	if err != nil {
		return func() {}, nil //nolint:nilerr // what cannot be read is what a restore is for
	}
	return func() { _ = db.Close() }, nil
}

// receive writes the file of a backup and checks it.
func receive(r io.Reader, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(verified(r, f), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return asFull(err)
	}
	found, err := check(path)
	if err != nil {
		return err
	}
	if found.lost > 0 {
		return &DamageError{Path: "the backup", Findings: found.findings, Damages: found.lost}
	}
	return nil
}

// verified copies a backup's file and compares its checksum.
func verified(r io.Reader, to io.Writer) error {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	head := make([]byte, len(backupLine)+8)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(backupLine)]) != backupLine {
		return errors.Join(errNoBackup, err)
	}
	length := binary.BigEndian.Uint64(head[len(backupLine):])
	if length > 1<<62 {
		return errNoBackup
	}
	if _, err := io.CopyN(to, in, int64(length)); err != nil {
		return cut(err)
	}
	want := sum.Sum(nil)
	got, err := io.ReadAll(io.LimitReader(r, sha256.Size+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its checksum is wrong: %w", errNoBackup, store.ErrDamaged)
	}
	return nil
}

// cut tells an end that comes too early from other errors.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends too early", errNoBackup)
	}
	return err
}
