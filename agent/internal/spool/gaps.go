package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// A gap is a range of runs, both ends inclusive, that will never come.
type gap struct {
	ordinal  uint64
	from, to uint64
	reason   agentpb.Gap_Reason
	// sent says that this stream has carried it, and after that the newest run it
	// had sent by then in the LIVE lane of the running epoch.
	sent  bool
	after uint64
}

// maxGaps bounds the list. Past it a new gap widens its neighbour, which then
// names runs too many: an overstated gap is honest, a forgotten one is not.
const maxGaps = 4096

// gaps is kept in the order in which the gaps came about.
type gaps []*gap

// add records that one run will not come. It widens the newest gap where that
// stays exact.
func (g *gaps) add(ordinal, sequence uint64, reason agentpb.Gap_Reason) {
	g.addRange(ordinal, sequence, sequence, reason)
}

func (g *gaps) addRange(ordinal, from, to uint64, reason agentpb.Gap_Reason) {
	if from > to {
		return
	}
	for _, old := range slices.Backward(*g) {
		if old.ordinal != ordinal || old.reason != reason || old.sent {
			continue
		}
		if from == old.to+1 {
			old.to = to
			return
		}
		if len(*g) >= maxGaps {
			old.from, old.to = min(old.from, from), max(old.to, to)
			return
		}
		break
	}
	*g = append(*g, &gap{ordinal: ordinal, from: from, to: to, reason: reason})
}

// covers says whether the run is in a gap already.
func (g gaps) covers(ordinal, sequence uint64) bool {
	return slices.ContainsFunc(g, func(x *gap) bool {
		return x.ordinal == ordinal && x.from <= sequence && sequence <= x.to
	})
}

// unsent forgets what an ended stream has carried, so that the next one repeats
// what was not confirmed.
func (g gaps) unsent() {
	for _, x := range g {
		x.sent = false
	}
}

const gapBytes = 8 + 8 + 8 + 1

func (g gaps) encode() []byte {
	b := make([]byte, 0, len(g)*gapBytes+crc32.Size)
	for _, x := range g {
		b = binary.BigEndian.AppendUint64(b, x.ordinal)
		b = binary.BigEndian.AppendUint64(b, x.from)
		b = binary.BigEndian.AppendUint64(b, x.to)
		b = append(b, byte(x.reason))
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeGaps(b []byte) (gaps, error) {
	n := len(b) - crc32.Size
	if n < 0 || n%gapBytes != 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return nil, errors.New("the list of gaps is damaged")
	}
	var g gaps
	for rec := range slices.Chunk(b[:n], gapBytes) {
		x := &gap{
			ordinal: binary.BigEndian.Uint64(rec),
			from:    binary.BigEndian.Uint64(rec[8:]),
			to:      binary.BigEndian.Uint64(rec[16:]),
			reason:  agentpb.Gap_Reason(rec[24]),
		}
		if x.from == 0 || x.from > x.to {
			return nil, errors.New("the list of gaps has a bad range")
		}
		g = append(g, x)
	}
	return g, nil
}
