package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// A row lies in the bucket of its table under customer, 0, key; an index entry in
// the bucket table, 0, index under customer, 0, index key, row key. The index key is
// escaped so that it ends and still sorts as it did: 0 becomes 0 ff, and the end is
// 0 1. Every value starts with a CRC-32C over key and value: a flipped bit shows.

const sealBytes = 4

var errUnsealed = errors.New("the checksum of a row is wrong")

func indexBucket(table, index string) string { return table + "\x00" + index }

func rowKey(customer, key string) string { return customer + "\x00" + key }

// after is the first key behind all of a customer's.
func after(customer string) string { return customer + "\x01" }

func splitRow(key []byte) (customer, rest string) {
	c, r, _ := bytes.Cut(key, []byte{0})
	return string(c), string(r)
}

func escape(indexKey string) string { return strings.ReplaceAll(indexKey, "\x00", "\x00\xff") }

func entryKey(customer, indexKey, key string) string {
	return customer + "\x00" + escape(indexKey) + "\x00\x01" + key
}

// splitEntry undoes entryKey.
func splitEntry(entry []byte) (indexKey, key string, ok bool) {
	_, rest, _ := bytes.Cut(entry, []byte{0})
	var plain []byte
	for {
		zero := bytes.IndexByte(rest, 0)
		if zero < 0 || zero+1 >= len(rest) {
			return "", "", false
		}
		plain = append(plain, rest[:zero]...)
		switch mark := rest[zero+1]; mark {
		case 1:
			return string(plain), string(rest[zero+2:]), true
		case 0xff:
			plain, rest = append(plain, 0), rest[zero+2:]
		default:
			return "", "", false
		}
	}
}

// Seal puts a checksum over key and value before the value.
func Seal(key string, value []byte) []byte {
	out := make([]byte, sealBytes, sealBytes+len(value))
	binary.BigEndian.PutUint32(out, checksum([]byte(key), value))
	return append(out, value...)
}

// Unseal returns a copy of what was sealed, or an error that is store.ErrDamaged.
func Unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < sealBytes || binary.BigEndian.Uint32(sealed) != checksum(key, sealed[sealBytes:]) {
		return nil, errors.Join(store.ErrDamaged, errUnsealed)
	}
	return append([]byte{}, sealed[sealBytes:]...), nil
}

func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, value)
}
