// Command settle makes an installer the same whenever it is built: the time of its
// making is that of the sources, and its package code follows from its bytes.
//
//	settle FILE.msi SECONDS
//
// Windows takes two installers with one package code for the same file
// (https://learn.microsoft.com/windows/win32/msi/package-codes), so that each build
// needs another, and a build of the same sources the same.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "settle:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: settle FILE.msi SECONDS")
	}
	seconds, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("the time: %w", err)
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if err := settle(data, time.Unix(seconds, 0)); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return os.WriteFile(args[0], data, 0o644)
}

// The summary information is a property set: a header that names its format, and a
// section with a table of properties ([MS-OLEPS] 2.21, 2.20). The section of a small
// file lies in one piece, as it is written.
const (
	formatID    = "\xe0\x85\x9f\xf2\xf9\x4f\x68\x10\xab\x91\x08\x00\x2b\x27\xb3\xd9"
	maxSection  = 4096 // what is larger may be in pieces
	packageCode = 9    // PIDSI_REVNUMBER
	created     = 12   // PIDSI_CREATE_DTM
	saved       = 13   // PIDSI_LASTSAVE_DTM

	typeString = 30 // VT_LPSTR
	typeTime   = 64 // VT_FILETIME
)

func settle(data []byte, at time.Time) error {
	section, err := summary(data)
	if err != nil {
		return err
	}
	for _, id := range []uint32{created, saved} {
		value, err := property(section, id, typeTime, 8)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(value, fileTime(at))
	}
	code, err := property(section, packageCode, typeString, 4+len("{}")+36)
	if err != nil {
		return err
	}
	code = code[4:] // after its length
	if code[0] != '{' || code[37] != '}' {
		return fmt.Errorf("%q is no package code", code)
	}
	copy(code, bytes.Repeat([]byte("0"), len(code)))
	sum := sha256.Sum256(data)
	copy(code, "{"+strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceURL, sum[:]).String())+"}")
	return nil
}

// fileTime counts 100 ns since 1601.
func fileTime(at time.Time) uint64 {
	const between = 11644473600 // seconds from 1601 to 1970
	return uint64(at.Unix()+between) * 10_000_000
}

// summary finds the section with the properties.
func summary(data []byte) ([]byte, error) {
	at := bytes.Index(data, []byte(formatID))
	if at < 28 || at != bytes.LastIndex(data, []byte(formatID)) || len(data) < at+20 {
		return nil, errors.New("it has no summary information, or more than one")
	}
	header := data[at-28:]
	offset := binary.LittleEndian.Uint32(header[44:])
	if uint64(offset)+8 > uint64(len(header)) {
		return nil, errors.New("the summary information ends too early")
	}
	size := binary.LittleEndian.Uint32(header[offset:])
	if size < 8 || size > maxSection || uint64(offset)+uint64(size) > uint64(len(header)) {
		return nil, fmt.Errorf("the summary information has %d bytes", size)
	}
	return header[offset : offset+size], nil
}

// property is the value of a property, of a type and a size.
func property(section []byte, id, kind uint32, size int) ([]byte, error) {
	count := binary.LittleEndian.Uint32(section[4:])
	for i := uint32(0); i < count && 8+8*(i+1) <= uint32(len(section)); i++ {
		entry := section[8+8*i:]
		if binary.LittleEndian.Uint32(entry) != id {
			continue
		}
		at := binary.LittleEndian.Uint32(entry[4:])
		if uint64(at)+4+uint64(size) > uint64(len(section)) || binary.LittleEndian.Uint32(section[at:]) != kind {
			return nil, fmt.Errorf("property %d of the summary information is not of type %d", id, kind)
		}
		return section[at+4 : int(at)+4+size], nil
	}
	return nil, fmt.Errorf("the summary information lacks property %d", id)
}
