package engine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// watermark is how far a host's runs have been dealt with. It is one small row a
// host, written in every commit that the host has a part in, so it is packed: a
// version byte, the time, the visit, and 48 bytes for each epoch.
type watermark struct {
	// Seen is when the newest message came.
	Seen time.Time
	// Visit is the newest visit that the agent has shown to have stored.
	Visit  uint64
	Epochs []epochMark
}

// epochMark is the part of one agent process.
type epochMark struct {
	Epoch uint64
	// OffsetMS is what the agent's ticks are corrected by, fixed when the epoch is
	// first met so that a clock that is set right does not fold history.
	OffsetMS int64
	Lanes    [2]laneMark
}

// laneMark holds the newest sequence numbers decided and archived.
type laneMark struct{ Decided, Archived uint64 }

const (
	watermarkVersion = 1
	watermarkHead    = 1 + 8 + 8
	watermarkEpoch   = 6 * 8
	// maxEpochs bounds the epochs that a host may hold runs of: one a restart of the
	// agent while the collector was away.
	maxEpochs = 256
)

func (w *watermark) append(b []byte) []byte {
	b = append(b, watermarkVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(w.Seen.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, w.Visit)
	for i := range w.Epochs {
		e := &w.Epochs[i]
		b = binary.BigEndian.AppendUint64(b, e.Epoch)
		b = binary.BigEndian.AppendUint64(b, uint64(e.OffsetMS))
		for _, l := range e.Lanes {
			b = binary.BigEndian.AppendUint64(b, l.Decided)
			b = binary.BigEndian.AppendUint64(b, l.Archived)
		}
	}
	return b
}

func parseWatermark(b []byte) (watermark, error) {
	if len(b) < watermarkHead || b[0] != watermarkVersion || (len(b)-watermarkHead)%watermarkEpoch != 0 {
		return watermark{}, fmt.Errorf("a watermark of %d bytes is not of version %d", len(b), watermarkVersion)
	}
	next := func() (v uint64) {
		v = binary.BigEndian.Uint64(b)
		b = b[8:]
		return v
	}
	b = b[1:]
	w := watermark{Seen: time.UnixMilli(int64(next())), Visit: next()}
	for len(b) > 0 {
		e := epochMark{Epoch: next(), OffsetMS: int64(next())}
		for i := range e.Lanes {
			e.Lanes[i] = laneMark{Decided: next(), Archived: next()}
		}
		w.Epochs = append(w.Epochs, e)
	}
	return w, nil
}

// epoch returns the mark of an epoch, or nil when it was never met.
func (w *watermark) epoch(epoch uint64) *epochMark {
	for i := range w.Epochs {
		if w.Epochs[i].Epoch == epoch {
			return &w.Epochs[i]
		}
	}
	return nil
}

// meet makes the marks those of the epochs that an agent says it holds: what it no
// longer holds is over and forgotten, what is new starts at nothing.
func (w *watermark) meet(held []*agentpb.EpochRange, offset time.Duration) {
	w.Epochs = slices.DeleteFunc(w.Epochs, func(e epochMark) bool {
		return !slices.ContainsFunc(held, func(r *agentpb.EpochRange) bool { return r.Epoch == e.Epoch })
	})
	for _, r := range held {
		if w.epoch(r.Epoch) == nil {
			w.Epochs = append(w.Epochs, epochMark{Epoch: r.Epoch, OffsetMS: offset.Milliseconds()})
		}
	}
}

// reused says whether an agent claims to have given out less than it once sent:
// its epoch belongs to another process, or to a future that was rolled back.
func (w *watermark) reused(held []*agentpb.EpochRange) bool {
	for _, r := range held {
		e := w.epoch(r.Epoch)
		if e == nil {
			continue
		}
		for _, l := range e.Lanes {
			if l.Decided > r.Newest {
				return true
			}
		}
	}
	return false
}

func (w *watermark) cursors() []*agentpb.Cursor {
	var out []*agentpb.Cursor
	for _, e := range w.Epochs {
		for lane, l := range e.Lanes {
			out = append(out, &agentpb.Cursor{
				Epoch: e.Epoch, Lane: agentpb.Lane(lane), Decided: l.Decided, Archived: l.Archived,
			})
		}
	}
	return out
}
