package spool

import (
	"bytes"
	"slices"

	"github.com/wacht-io/wacht/agent/agentpb"
)

const (
	live    = agentpb.Lane_LIVE
	backlog = agentpb.Lane_BACKLOG
)

// An epoch is the runs of one process, or of one setting of its clock.
type epoch struct {
	ordinal uint64 // their order on this machine
	id      uint64
	// newest is the newest sequence number given out; of an earlier process that was
	// cut off by a power failure it is the highest that may have been.
	newest   uint64
	reserved uint64
	// archived is the cursor of each lane, sent how far this stream has sent, and
	// decided how far the collector has judged what the LIVE lane sent.
	archived, sent [2]uint64
	decided        uint64
	// lives are the runs assigned to the LIVE lane and not archived, ascending. Of
	// the others those up to horizon are the backlog's, and those above it will be
	// LIVE when they are sent.
	lives   []uint64
	horizon uint64
	// first and last bound what is on disk; 0 when nothing is.
	first, last uint64
	// freed are runs on disk that need not be there any longer, besides the backlog
	// up to its cursor; ascending.
	freed []uint64

	mine     bool // begun by this process
	ended    bool // another epoch runs
	closing  bool // all is on disk once it is stored
	resumed  bool // a collector has given its cursors
	unclean  bool // its process was killed: what is missing has to be found at Resume
	unsure   bool // unclean, and the backlog may have been lost too
	reason   agentpb.Gap_Reason
	floor    uint64 // of an unclean one: all below it was archived or named in a gap
	stored   []byte // its record as it is on disk
	tidyDisk bool   // the backlog's cursor has passed runs on disk
}

func (e *epoch) isLive(sequence uint64) bool {
	_, found := slices.BinarySearch(e.lives, sequence)
	return found
}

func (e *epoch) addLive(sequence uint64) {
	if i, found := slices.BinarySearch(e.lives, sequence); !found {
		e.lives = slices.Insert(e.lives, i, sequence)
	}
}

// undecided counts the LIVE runs that the collector has not judged yet. Those that
// it has judged and not archived are held, and hold nothing up: a collector whose
// history is down still hears what is wrong now.
func (e *epoch) undecided() int {
	n, found := slices.BinarySearch(e.lives, max(e.decided, e.archived[live]))
	if found {
		n++
	}
	return len(e.lives) - n
}

func (e *epoch) forgetLive(sequence uint64) {
	if i, found := slices.BinarySearch(e.lives, sequence); found {
		e.lives = slices.Delete(e.lives, i, i+1)
	}
}

func (e *epoch) free(sequence uint64) {
	if e.first == 0 || sequence < e.first || sequence > e.last {
		return
	}
	if i, found := slices.BinarySearch(e.freed, sequence); !found {
		e.freed = slices.Insert(e.freed, i, sequence)
	}
}

func (e *epoch) isFreed(sequence uint64) bool {
	_, found := slices.BinarySearch(e.freed, sequence)
	return found
}

// done says whether the collector has the run, or it was given up.
func (e *epoch) done(sequence uint64) bool {
	if e.isLive(sequence) {
		return false
	}
	return e.isFreed(sequence) || (sequence <= e.horizon && sequence <= e.archived[backlog])
}

func (e *epoch) advance(lane agentpb.Lane, archived uint64) bool {
	if int(lane) >= len(e.archived) || archived <= e.archived[lane] {
		return false
	}
	e.archived[lane] = archived
	return true
}

// decide notes how far the LIVE lane has been judged, and says whether that is news.
func (e *epoch) decide(lane agentpb.Lane, decided uint64) bool {
	if lane != live || decided <= e.decided {
		return false
	}
	e.decided = decided
	return true
}

// release drops from the LIVE list what is archived, and marks what is thereby
// free on disk.
func (e *epoch) release() {
	n, found := slices.BinarySearch(e.lives, e.archived[live])
	if found {
		n++
	}
	for _, sequence := range e.lives[:n] {
		e.free(sequence)
	}
	e.lives = slices.Delete(e.lives, 0, n)
	e.tidyDisk = e.first > 0 && min(e.archived[backlog], e.horizon) >= e.first
}

func (e *epoch) untidy() bool { return len(e.freed) > 0 || e.tidyDisk }

// record is what is to be on disk of the epoch.
func (e *epoch) record(first uint64) []byte {
	r := epochRecord{
		epoch: e.id, reserved: e.newest, first: first, archived: e.archived, live: e.lives,
		clean: !e.unclean && (!e.mine || e.closing), unsure: e.unsure, damaged: e.reason == agentpb.Gap_DAMAGED,
	}
	if e.mine && !e.closing && !e.ended {
		r.reserved = e.reserved
	}
	return r.encode(ordinalKey(e.ordinal))
}

func (e *epoch) isStored(record []byte) bool { return bytes.Equal(e.stored, record) }

// low is the lowest run that is not known to be archived or in a gap, where held
// is the lowest that is held.
func (e *epoch) low(held uint64) uint64 {
	if e.unclean {
		return min(e.floor, held)
	}
	return held
}

// missing returns the first sequence number from which on a run of a killed process
// that is not on disk was lost. What the LIVE lane had sent and the collector had
// archived is not; nor is what is below the floor.
func (e *epoch) missing() uint64 {
	l, b := e.archived[live], e.archived[backlog]
	from := max(l, b)
	if e.unsure && b > 0 {
		from = min(l, b)
	}
	return max(from+1, e.floor)
}
