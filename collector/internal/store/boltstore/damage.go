package boltstore

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// checked is what a walk over a whole file found.
type checked struct {
	findings  []string
	lost      int
	oneHeader bool
}

// check walks the file while nobody can write to it.
func check(path string) (checked, error) {
	// Read-only bbolt takes the lock and looks at the headers alone.
	db, err := openBolt(path, &bolt.Options{ReadOnly: true})
	if err == nil {
		defer func() { _ = db.Close() }()
	} else if errors.Is(err, ErrInUse) || errors.Is(err, os.ErrPermission) {
		return checked{}, err
	}
	w, err := walkFile(path, nil)
	if err != nil {
		return checked{}, err
	}
	return *w, nil
}

func walkFile(path string, row func(bucket string, key, sealed []byte) error) (*checked, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	w, err := walk(f, info.Size(), row)
	if err != nil {
		return nil, err
	}
	_, valid := readMetas(f)
	return &checked{findings: w.findings, lost: w.lost, oneHeader: valid == 1}, nil
}

// setAside keeps a damaged file under another name and puts a file in its place that
// holds every row that is sound. At each moment there is a file under the name.
func setAside(path string, now time.Time, report *Report) error {
	saved := path + ".saved"
	if err := os.RemoveAll(saved); err != nil {
		return err
	}
	count, err := salvage(path, saved)
	if err != nil {
		_ = os.Remove(saved)
		return fmt.Errorf("saving what can be read of %s: %w", path, asFull(err))
	}
	aside := path + ".damaged-" + now.UTC().Format("20060102T150405.000Z")
	if err := os.Link(path, aside); err != nil {
		// Some file systems have no links.
		if err := os.Rename(path, aside); err != nil {
			return err
		}
	}
	if err := os.Rename(saved, path); err != nil {
		return err
	}
	report.SetAside, report.Rows = aside, count
	return syncFolder(path)
}

// salvage copies the sound rows into a new file, and makes it durable once.
func salvage(from, to string) (count int, err error) {
	db, err := openBolt(to, &bolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var into batch
	_, err = walkFile(from, func(bucket string, key, sealed []byte) error {
		count++
		return into.add(db, bucket, key, sealed)
	})
	if err = errors.Join(err, into.flush(db)); err != nil {
		return count, err
	}
	return count, db.Sync()
}

// batch collects rows into transactions of some size.
type batch struct {
	rows  []salvaged
	bytes int
}

type salvaged struct {
	bucket      string
	key, sealed []byte
}

func (b *batch) add(db *bolt.DB, bucket string, key, sealed []byte) error {
	b.rows = append(b.rows, salvaged{bucket, key, sealed})
	if b.bytes += len(key) + len(sealed); b.bytes < 4<<20 && len(b.rows) < 10_000 {
		return nil
	}
	return b.flush(db)
}

func (b *batch) flush(db *bolt.DB) error {
	if len(b.rows) == 0 {
		return nil
	}
	defer func() { *b = batch{} }()
	return db.Update(func(t *bolt.Tx) error {
		for _, row := range b.rows {
			into, err := t.CreateBucketIfNotExists([]byte(row.bucket))
			if err != nil {
				return err
			}
			if err := into.Put(row.key, row.sealed); err != nil {
				return err
			}
		}
		return nil
	})
}
