package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its pages: opening a file with a bad one can end the process, from
// a goroutine of bbolt's own where nothing can recover it. So a file is read page
// by page before bbolt maps it. The layout is that of bbolt's internal/common
// (page.go, meta.go, inode.go), version 2, in the machine's byte order.

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltNoFreelist = ^uint64(0)
	boltHeader     = 16 // id, flags, count, overflow
	boltElement    = 16 // of a branch and of a leaf page alike
	boltMeta       = 64 // with its checksum, the last 8 bytes
	boltInBucket   = 16 // root page, sequence

	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltFreelist = 0x10

	boltMaxDepth = 64
)

// order is how bbolt writes numbers.
var order = binary.NativeEndian

type verifier struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // the high-water mark: no page has this id or a higher one
	seen     []bool
}

// verifyFile says what is wrong with a bbolt file, or nil.
func verifyFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the spool: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("sizing the spool: %w", err)
	}
	return verifyPages(f, info.Size())
}

func verifyPages(file io.ReaderAt, size int64) error {
	v := &verifier{file: file}
	root, freelist, err := v.readMetas()
	if err != nil {
		return err
	}
	if v.pages < 3 || v.pages > uint64(size/v.pageSize) {
		return fmt.Errorf("the file ends before its page %d", v.pages)
	}
	v.seen = make([]bool, v.pages)
	if freelist != boltNoFreelist {
		if err := v.freelist(freelist); err != nil {
			return err
		}
	}
	return v.walk(root, 0)
}

// readMetas takes the newer of the two meta pages that is whole, as bbolt does.
func (v *verifier) readMetas() (root, freelist uint64, err error) {
	newest := uint64(0)
	found := false
	first := make([]byte, boltHeader+boltMeta)
	if _, err := v.file.ReadAt(first, 0); err != nil {
		return 0, 0, fmt.Errorf("reading the first meta page: %w", err)
	}
	// bbolt finds the second meta page by the page size that the first one gives, or
	// by the system's where the first is damaged.
	v.pageSize = int64(os.Getpagesize())
	if validMeta(first[boltHeader:]) {
		v.pageSize = int64(order.Uint32(first[boltHeader+8:]))
	}
	if v.pageSize < 1024 || v.pageSize > 1<<16 {
		return 0, 0, fmt.Errorf("no page has %d bytes", v.pageSize)
	}
	for i := range int64(2) {
		page := make([]byte, boltHeader+boltMeta)
		if _, err := v.file.ReadAt(page, i*v.pageSize); err != nil {
			return 0, 0, fmt.Errorf("reading meta page %d: %w", i, err)
		}
		m := page[boltHeader:]
		if txid := order.Uint64(m[48:]); validMeta(m) && (!found || txid > newest) {
			found, newest = true, txid
			root, freelist, v.pages = order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:])
		}
	}
	if !found {
		return 0, 0, errors.New("neither meta page is whole")
	}
	return root, freelist, nil
}

func validMeta(m []byte) bool {
	h := fnv.New64a()
	_, _ = h.Write(m[:boltMeta-8])
	return order.Uint32(m) == boltMagic && order.Uint32(m[4:]) == boltVersion && h.Sum64() == order.Uint64(m[boltMeta-8:])
}

// page reads a page with its overflow, each page at most once.
func (v *verifier) page(id uint64) ([]byte, error) {
	if id < 2 || id >= v.pages {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	head := make([]byte, boltHeader)
	offset := int64(id) * v.pageSize
	if _, err := v.file.ReadAt(head, offset); err != nil {
		return nil, fmt.Errorf("reading page %d: %w", id, err)
	}
	overflow := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || overflow >= v.pages-id {
		return nil, fmt.Errorf("page %d has a damaged header", id)
	}
	for i := id; i <= id+overflow; i++ {
		if v.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		v.seen[i] = true
	}
	data := make([]byte, (int64(overflow)+1)*v.pageSize)
	if _, err := v.file.ReadAt(data, offset); err != nil {
		return nil, fmt.Errorf("reading page %d: %w", id, err)
	}
	return data, nil
}

func (v *verifier) freelist(id uint64) error {
	data, err := v.page(id)
	if err != nil {
		return err
	}
	count := uint64(order.Uint16(data[10:]))
	ids := data[boltHeader:]
	if count == 0xFFFF { // then the first element is the count
		count = order.Uint64(ids)
		ids = ids[8:]
	}
	if order.Uint16(data[8:]) != boltFreelist || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of free pages", id)
	}
	for i := range count {
		if free := order.Uint64(ids[i*8:]); free < 2 || free >= v.pages {
			return fmt.Errorf("the free page %d is outside the file", free)
		}
	}
	return nil
}

func (v *verifier) walk(id uint64, depth int) error {
	if depth > boltMaxDepth {
		return fmt.Errorf("page %d is too deep", id)
	}
	data, err := v.page(id)
	if err != nil {
		return err
	}
	if err := v.elements(data, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements walks a branch or leaf page, which is a page of the file or one that is
// stored inline in a bucket's value.
func (v *verifier) elements(data []byte, depth int) error {
	flags, count := order.Uint16(data[8:]), int(order.Uint16(data[10:]))
	if boltHeader+count*boltElement > len(data) {
		return fmt.Errorf("%d elements do not fit", count)
	}
	var last []byte
	for i := range count {
		at := boltHeader + i*boltElement
		var key []byte
		var err error
		switch flags {
		case boltBranch:
			key, err = v.branch(data, at, depth)
		case boltLeaf:
			key, err = v.leaf(data, at, depth)
		default:
			err = fmt.Errorf("no page has the flags %#x", flags)
		}
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		if i > 0 && string(key) <= string(last) {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
	}
	if count == 0 && flags != boltLeaf {
		return errors.New("the page is empty")
	}
	return nil
}

func (v *verifier) branch(data []byte, at, depth int) ([]byte, error) {
	key, err := within(data, at, order.Uint32(data[at:]), order.Uint32(data[at+4:]))
	if err != nil {
		return nil, err
	}
	return key, v.walk(order.Uint64(data[at+8:]), depth+1)
}

func (v *verifier) leaf(data []byte, at, depth int) ([]byte, error) {
	flags, pos := order.Uint32(data[at:]), order.Uint32(data[at+4:])
	keySize, valueSize := order.Uint32(data[at+8:]), order.Uint32(data[at+12:])
	if flags > 1 || uint64(keySize)+uint64(valueSize) > uint64(len(data)) {
		return nil, errors.New("the element is damaged")
	}
	both, err := within(data, at, pos, keySize+valueSize)
	if err != nil {
		return nil, err
	}
	key, value := both[:keySize], both[keySize:]
	if flags == 1 {
		err = v.bucket(value, depth)
	}
	return key, err
}

func (v *verifier) bucket(value []byte, depth int) error {
	if len(value) < boltInBucket {
		return errors.New("a bucket is too short")
	}
	if root := order.Uint64(value); root != 0 {
		return v.walk(root, depth+1)
	}
	inline := value[boltInBucket:]
	if len(inline) < boltHeader || order.Uint16(inline[8:]) != boltLeaf {
		return errors.New("an inline bucket is damaged")
	}
	return v.elements(inline, depth+1)
}

// within returns size bytes at pos, counted from the element at at.
func within(data []byte, at int, pos, size uint32) ([]byte, error) {
	from := uint64(at) + uint64(pos)
	to := from + uint64(size)
	if to > uint64(len(data)) {
		return nil, errors.New("the element points outside its page")
	}
	return data[from:to], nil
}
