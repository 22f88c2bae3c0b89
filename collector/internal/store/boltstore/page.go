package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, version 2, in the byte order of the machine:
// go.etcd.io/bbolt internal/common page.go, meta.go, bucket.go and inode.go.
const (
	pageHeader   = 16
	elementBytes = 16
	bucketHeader = 16
	metaBytes    = 64

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	bucketFlag   = 0x01

	magic      = 0xED0CDAED
	version    = 2
	noFreelist = 1<<64 - 1

	// maxPageBytes is more than any page with overflow that Commit can make.
	maxPageBytes = 256 << 20
)

// header is a page's start.
type header struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
}

func readHeader(b []byte) header {
	return header{
		id:       binary.NativeEndian.Uint64(b),
		flags:    binary.NativeEndian.Uint16(b[8:]),
		count:    int(binary.NativeEndian.Uint16(b[10:])),
		overflow: uint64(binary.NativeEndian.Uint32(b[12:])),
	}
}

// meta is one of a file's two headers; the valid one with the higher tx counts.
type meta struct {
	pageSize                 int64
	root, freelist, high, tx uint64
}

// readMeta reads a header page; false means that it is not one, or torn.
func readMeta(page []byte) (meta, bool) {
	b := page[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaBytes-8])
	m := meta{
		pageSize: int64(binary.NativeEndian.Uint32(b[8:])),
		root:     binary.NativeEndian.Uint64(b[16:]),
		freelist: binary.NativeEndian.Uint64(b[32:]),
		high:     binary.NativeEndian.Uint64(b[40:]),
		tx:       binary.NativeEndian.Uint64(b[48:]),
	}
	ok := binary.NativeEndian.Uint32(b) == magic && binary.NativeEndian.Uint32(b[4:]) == version &&
		binary.NativeEndian.Uint64(b[56:]) == sum.Sum64() && m.pageSize >= 1024 && m.pageSize <= 16<<20
	return m, ok
}

// readMetas returns the header that counts, and how many of the two are valid. The
// second stands one page behind the first, at a page size that only a header tells.
func readMetas(r io.ReaderAt) (newest meta, valid int) {
	buf := make([]byte, pageHeader+metaBytes)
	for offset := int64(0); offset <= 16<<20; offset = max(1024, offset*2) {
		if _, err := r.ReadAt(buf, offset); err != nil {
			break
		}
		m, ok := readMeta(buf)
		if !ok || (offset != 0 && offset != m.pageSize) {
			continue
		}
		if valid++; valid == 1 || m.tx > newest.tx {
			newest = m
		}
	}
	return newest, valid
}

// element is one entry of a page: a child page, a row, or a bucket.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

var errLayout = errors.New("its entries do not lie as bbolt lays them")

// elements returns a page's entries. bbolt writes them without a gap, first the list
// and then each key and value, on a page that was zero; anything else is damage.
func elements(page []byte, head header) ([]element, error) {
	out := make([]element, head.count)
	at := uint64(pageHeader) + uint64(head.count)*elementBytes
	if at > uint64(len(page)) {
		return nil, errLayout
	}
	// The first entry's place says how many there are. Without one the rest does.
	if head.count == 0 && bytes.ContainsFunc(page[pageHeader:], func(r rune) bool { return r != 0 }) {
		return nil, errLayout
	}
	for i := range out {
		offset := uint64(pageHeader + i*elementBytes)
		e, pos, keySize, valueSize := readElement(page[offset:], head.flags)
		if offset+pos != at || at+keySize+valueSize > uint64(len(page)) || keySize == 0 {
			return nil, errLayout
		}
		e.key = page[at : at+keySize]
		e.value = page[at+keySize : at+keySize+valueSize]
		at += keySize + valueSize
		if i > 0 && bytes.Compare(out[i-1].key, e.key) >= 0 {
			return nil, fmt.Errorf("key %d is not behind the one before", i)
		}
		out[i] = e
	}
	return out, nil
}

// readElement reads an entry of a page's list; pos counts from the entry itself.
func readElement(b []byte, flags uint16) (e element, pos, keySize, valueSize uint64) {
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(b[4*i:])) }
	if flags == branchFlag {
		e.child = binary.NativeEndian.Uint64(b[8:])
		return e, word(0), word(1), 0
	}
	e.bucket = word(0) == bucketFlag
	return e, word(1), word(2), word(3)
}
