package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
)

// The mark is a small file that is overwritten in place, and not fsynced, whenever
// a sequence number is given out. The page cache keeps it through kill -9, so that
// the next process knows exactly which runs were lost; after a power cut it may be
// stale, which its boot id shows, and the reservation in the store bounds the loss.
type mark struct {
	boot    [16]byte
	epochs  []markedEpoch
	failing bool // the store was not taking runs
}

type markedEpoch struct {
	ordinal, epoch, first, newest uint64
}

const (
	markMagic  = 0x77_63_6d_31 // "wcm1"
	markHeader = 4 + 16 + 1 + 1
	markEpoch  = 4 * 8
	// maxMarked bounds the epochs in the mark; older ones are in the store alone.
	maxMarked = 64
)

func hashBoot(id string) [16]byte {
	sum := sha256.Sum256([]byte("wacht boot " + id))
	return [16]byte(sum[:16])
}

func (m *mark) encode() []byte {
	epochs := m.epochs[max(0, len(m.epochs)-maxMarked):]
	b := make([]byte, 0, markHeader+len(epochs)*markEpoch+crc32.Size)
	b = binary.BigEndian.AppendUint32(b, markMagic)
	b = append(b, m.boot[:]...)
	failing := byte(0)
	if m.failing {
		failing = 1
	}
	b = append(b, failing, byte(len(epochs)))
	for _, e := range epochs {
		for _, n := range []uint64{e.ordinal, e.epoch, e.first, e.newest} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (m *mark) names(ordinal uint64) bool {
	return slices.ContainsFunc(m.epochs, func(e markedEpoch) bool { return e.ordinal == ordinal })
}

func decodeMark(b []byte) (*mark, error) {
	if len(b) < markHeader || binary.BigEndian.Uint32(b) != markMagic {
		return nil, errors.New("the spool's mark is not one")
	}
	count := int(b[markHeader-1])
	n := markHeader + count*markEpoch
	if len(b) < n+crc32.Size || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return nil, errors.New("the spool's mark is damaged")
	}
	m := &mark{boot: [16]byte(b[4:]), failing: b[markHeader-2] == 1}
	for i := range count {
		rec := b[markHeader+i*markEpoch:]
		m.epochs = append(m.epochs, markedEpoch{
			ordinal: binary.BigEndian.Uint64(rec),
			epoch:   binary.BigEndian.Uint64(rec[8:]),
			first:   binary.BigEndian.Uint64(rec[16:]),
			newest:  binary.BigEndian.Uint64(rec[24:]),
		})
	}
	return m, nil
}

// markBytes is the most that a mark can take.
const markBytes = markHeader + maxMarked*markEpoch + crc32.Size

// openMark opens the file of the mark and reads what the last process left there,
// nil when that is nothing or can't be read.
func openMark(path string) (*os.File, *mark, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the spool's mark: %w", err)
	}
	b := make([]byte, markBytes)
	// What can't be read is as good as absent: the store has the bounds.
	n, _ := f.ReadAt(b, 0)
	m, _ := decodeMark(b[:n])
	return f, m, nil
}
