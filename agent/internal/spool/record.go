package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/checks/checkpb"
)

// A record on disk is recordVersion, the CRC-32C (Castagnoli, big endian) of its key
// and the payload, and the payload: a serialised checkpb.Run. bbolt has no checksum
// of its own below its meta pages, and a flipped bit must not become a measurement.
const (
	recordVersion = 1
	recordHeader  = 1 + crc32.Size
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
}

func encodeRecord(key, payload []byte) []byte {
	b := make([]byte, 0, recordHeader+len(payload))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint32(b, checksum(key, payload))
	return append(b, payload...)
}

// decodeRecord verifies a record and returns its payload, which shares b's memory.
func decodeRecord(key, b []byte) ([]byte, error) {
	switch {
	case len(b) < recordHeader:
		return nil, fmt.Errorf("a record of %d bytes is too short", len(b))
	case b[0] != recordVersion:
		return nil, fmt.Errorf("no record has version %d", b[0])
	case checksum(key, b[recordHeader:]) != binary.BigEndian.Uint32(b[1:]):
		return nil, errors.New("a record's checksum is wrong")
	}
	return b[recordHeader:], nil
}

func decodeRun(payload []byte) (*checkpb.Run, error) {
	run := new(checkpb.Run)
	if err := proto.Unmarshal(payload, run); err != nil {
		return nil, fmt.Errorf("reading a spooled run: %w", err)
	}
	return run, nil
}

// A key is the epoch's ordinal and the sequence number, both big endian: keys only
// grow, so that bbolt fills its pages one after the other.
const keySize = 16

func encodeKey(ordinal, sequence uint64) []byte {
	b := make([]byte, 0, keySize)
	b = binary.BigEndian.AppendUint64(b, ordinal)
	return binary.BigEndian.AppendUint64(b, sequence)
}

// ordinalKey is an epoch's own key.
func ordinalKey(ordinal uint64) []byte { return binary.BigEndian.AppendUint64(nil, ordinal) }

func decodeKey(b []byte) (ordinal, sequence uint64, ok bool) {
	if len(b) != keySize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), true
}

const pageBytes = 4096

// storedBytes is what a record takes in bbolt's pages: 16 bytes for its element,
// and whole pages for a value that fills more than half of one.
func storedBytes(payload int) int64 {
	n := int64(recordHeader + payload + keySize + 16)
	if n > pageBytes/2 {
		n = (n + pageBytes) / pageBytes * pageBytes
	}
	return n
}

// epochRecord is an epoch as stored under its ordinal: what must be known of it
// after a kill. Its checksum covers the key.
type epochRecord struct {
	epoch    uint64
	reserved uint64 // sequence numbers up to this one may have been given out
	clean    bool   // ended in order: reserved is the newest, and all is on disk
	unsure   bool   // not clean, and the backlog may have been lost too
	damaged  bool   // not clean, and what is missing was damaged, not lost
	first    uint64 // the lowest sequence number that was held
	archived [2]uint64
	live     []uint64 // assigned to the LIVE lane and not archived
}

// The flags share the first byte with the version.
const (
	flagClean   = 0x80
	flagUnsure  = 0x40
	flagDamaged = 0x20
	flags       = flagClean | flagUnsure | flagDamaged
)

func (r *epochRecord) encode(key []byte) []byte {
	b := []byte{recordVersion}
	for flag, set := range map[byte]bool{flagClean: r.clean, flagUnsure: r.unsure, flagDamaged: r.damaged} {
		if set {
			b[0] |= flag
		}
	}
	b = binary.BigEndian.AppendUint64(b, r.epoch)
	for _, n := range []uint64{r.reserved, r.first, r.archived[0], r.archived[1]} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendList(b, r.live)
	return binary.BigEndian.AppendUint32(b, checksum(key, b))
}

func decodeEpochRecord(key, b []byte) (*epochRecord, error) {
	n := len(b) - crc32.Size
	if n < 9 || checksum(key, b[:n]) != binary.BigEndian.Uint32(b[n:]) || b[0]&^flags != recordVersion {
		return nil, errors.New("an epoch's record is damaged")
	}
	r := &epochRecord{
		epoch: binary.BigEndian.Uint64(b[1:]),
		clean: b[0]&flagClean != 0, unsure: b[0]&flagUnsure != 0, damaged: b[0]&flagDamaged != 0,
	}
	rest := b[9:n]
	for _, into := range []*uint64{&r.reserved, &r.first, &r.archived[0], &r.archived[1]} {
		v, used := binary.Uvarint(rest)
		if used <= 0 {
			return nil, errors.New("an epoch's record is short")
		}
		*into, rest = v, rest[used:]
	}
	var err error
	r.live, err = decodeList(rest)
	return r, err
}

// appendList encodes ascending numbers as their distances, and further numbers that
// follow each other as 0 and their count: while a collector's history is down the
// list grows, and is written at each commit.
func appendList(b []byte, list []uint64) []byte {
	last := uint64(0)
	for i := 0; i < len(list); i++ {
		b = binary.AppendUvarint(b, list[i]-last)
		last = list[i]
		n := 0
		for i+1 < len(list) && list[i+1] == last+1 {
			i, n, last = i+1, n+1, last+1
		}
		if n > 0 {
			b = binary.AppendUvarint(append(b, 0), uint64(n))
		}
	}
	return b
}

// maxFollowing bounds what one count may stand for: more runs than a spool holds.
const maxFollowing = 1 << 24

var errList = errors.New("an epoch's record has a bad list")

func decodeList(b []byte) (list []uint64, err error) {
	last := uint64(0)
	for len(b) > 0 {
		step, used := binary.Uvarint(b)
		if used <= 0 || last+step < last {
			return nil, errList
		}
		b = b[used:]
		if step > 0 {
			last += step
			list = append(list, last)
			continue
		}
		n, used := binary.Uvarint(b)
		if used <= 0 || last == 0 || n == 0 || n > maxFollowing || last+n < last {
			return nil, errList
		}
		b = b[used:]
		for range n {
			last++
			list = append(list, last)
		}
	}
	return list, nil
}
