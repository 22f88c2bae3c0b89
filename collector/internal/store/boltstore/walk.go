package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/wacht-io/wacht/collector/internal/store/rows"
)

const (
	// maxFindings is how many findings are told of; more of them say no more.
	maxFindings = 20
	// maxDepth is far above that of a tree of 2^64 pages.
	maxDepth = 64
)

// walker walks a bbolt file without trusting it.
type walker struct {
	file io.ReaderAt
	size int64
	meta meta
	// seen has a bit for every page below the high-water mark.
	seen []uint64
	// row gets every sound row; what it answers ends the walk.
	row func(bucket string, key, sealed []byte) error

	findings []string
	// rows and lost count the sound rows and the findings; a page counts as one.
	rows, lost int
}

// walk reads the file and calls row, which may be nil, with every sound row.
func walk(file io.ReaderAt, size int64, row func(bucket string, key, sealed []byte) error) (*walker, error) {
	w := &walker{file: file, size: size, row: row}
	newest, valid := readMetas(file)
	w.meta = newest
	switch {
	case valid == 0:
		w.found("neither of the two headers is valid")
		return w, nil
	case newest.high < 2 || newest.high > uint64(size/newest.pageSize):
		w.found("the file ends at page %d of %d", size/newest.pageSize, newest.high)
		// What is there can be read still.
		w.meta.high = uint64(size / newest.pageSize)
	}
	w.seen = make([]uint64, w.meta.high/64+1)
	if err := w.tree(newest.root, bounds{}, w.table); err != nil {
		return w, err
	}
	w.freelist()
	return w, nil
}

func (w *walker) found(format string, args ...any) {
	if w.lost++; len(w.findings) < maxFindings {
		w.findings = append(w.findings, fmt.Sprintf(format, args...))
	}
}

// bounds are what a parent says of the keys of its child.
type bounds struct {
	low, high []byte
	depth     int
}

func (b bounds) hold(list []element) bool {
	if len(list) == 0 {
		return true
	}
	return bytes.Compare(list[0].key, b.low) >= 0 &&
		(b.high == nil || bytes.Compare(list[len(list)-1].key, b.high) < 0)
}

// tree walks the pages below id and calls leaf with the entries of each leaf.
func (w *walker) tree(id uint64, in bounds, leaf func(page uint64, list []element) error) error {
	page, head, err := w.page(id)
	if err != nil {
		w.found("page %d: %v", id, err)
		return nil
	}
	list, err := elements(page, head)
	switch {
	case err != nil:
		w.found("page %d: %v", id, err)
		return nil
	case !in.hold(list):
		w.found("page %d: a key lies outside of what its parent says", id)
		return nil
	case head.flags == leafFlag:
		return leaf(id, list)
	case len(list) == 0 || in.depth == maxDepth:
		w.found("page %d: a branch that leads nowhere", id)
		return nil
	}
	for i, e := range list {
		below := bounds{low: e.key, high: in.high, depth: in.depth + 1}
		if i+1 < len(list) {
			below.high = list[i+1].key
		}
		if err := w.tree(e.child, below, leaf); err != nil {
			return err
		}
	}
	return nil
}

// page reads a branch or leaf page with its overflow, each page once.
func (w *walker) page(id uint64) ([]byte, header, error) {
	if id < 2 || id >= w.meta.high {
		return nil, header{}, fmt.Errorf("outside of the file's %d pages", w.meta.high)
	}
	start := make([]byte, w.meta.pageSize)
	if err := w.read(start, id); err != nil {
		return nil, header{}, err
	}
	head := readHeader(start)
	length := (head.overflow + 1) * uint64(w.meta.pageSize)
	switch {
	case head.id != id:
		return nil, head, fmt.Errorf("says that it is page %d", head.id)
	case head.flags != branchFlag && head.flags != leafFlag:
		return nil, head, fmt.Errorf("is neither branch nor leaf, but %#x", head.flags)
	case id+head.overflow >= w.meta.high || length > maxPageBytes:
		return nil, head, fmt.Errorf("says that %d more belong to it", head.overflow)
	}
	for i := id; i <= id+head.overflow; i++ {
		if !w.mark(i) {
			return nil, head, fmt.Errorf("page %d belongs to two", i)
		}
	}
	if head.overflow == 0 {
		return start, head, nil
	}
	whole := make([]byte, length)
	return whole, head, w.read(whole, id)
}

func (w *walker) read(b []byte, id uint64) error {
	if _, err := w.file.ReadAt(b, int64(id)*w.meta.pageSize); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return nil
}

// mark notes that a page is used, and says whether it is the first time.
func (w *walker) mark(id uint64) bool {
	bit := uint64(1) << (id % 64)
	first := w.seen[id/64]&bit == 0
	w.seen[id/64] |= bit
	return first
}

// table walks the buckets that a leaf of the root holds, which holds nothing else.
func (w *walker) table(page uint64, list []element) error {
	for _, e := range list {
		name := string(e.key)
		leaf := func(_ uint64, list []element) error { return w.leaf(name, list) }
		switch {
		case !e.bucket || len(e.value) < bucketHeader:
			w.found("page %d: %.40q is not a table", page, name)
		case binary.NativeEndian.Uint64(e.value) != 0:
			if err := w.tree(binary.NativeEndian.Uint64(e.value), bounds{}, leaf); err != nil {
				return err
			}
		default:
			if err := w.inline(name, e.value[bucketHeader:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// inline walks a bucket so small that its only leaf lies in its parent.
func (w *walker) inline(name string, page []byte) error {
	if len(page) < pageHeader {
		w.found("table %.40q has no leaf", name)
		return nil
	}
	head := readHeader(page)
	if head.flags != leafFlag {
		w.found("table %.40q: its leaf is none", name)
		return nil
	}
	list, err := elements(page, head)
	if err != nil {
		w.found("table %.40q: %v", name, err)
		return nil
	}
	return w.leaf(name, list)
}

func (w *walker) leaf(bucket string, list []element) error {
	for _, e := range list {
		if _, err := rows.Unseal(e.key, e.value); err != nil || e.bucket {
			w.found("table %.40q: the checksum of row %.60q is wrong", bucket, e.key)
			continue
		}
		w.rows++
		if w.row == nil {
			continue
		}
		if err := w.row(bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// freelist checks the list of free pages, which only a file without a commit has.
func (w *walker) freelist() {
	if w.meta.freelist == noFreelist {
		return
	}
	if w.meta.freelist < 2 || w.meta.freelist >= w.meta.high {
		w.found("the free pages are listed outside of the file")
		return
	}
	page := make([]byte, w.meta.pageSize)
	if err := w.read(page, w.meta.freelist); err != nil {
		w.found("page %d: %v", w.meta.freelist, err)
		return
	}
	head := readHeader(page)
	if head.id != w.meta.freelist || head.flags != freelistFlag || head.overflow != 0 ||
		head.count != 0 || !w.mark(w.meta.freelist) {
		w.found("page %d: the list of free pages is damaged", w.meta.freelist)
	}
}
