package spool

import (
	"slices"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// Epochs returns what the Hello says of the spool.
func (s *Spool) Epochs() []*agentpb.EpochRange {
	s.mu.Lock()
	defer s.mu.Unlock()
	ranges := make([]*agentpb.EpochRange, len(s.epochs))
	for i, e := range s.epochs {
		ranges[i] = &agentpb.EpochRange{Epoch: e.id, First: s.firstHeld(e), Newest: e.newest}
	}
	return ranges
}

// firstHeld is the lowest sequence number held of an epoch, or newest + 1.
func (s *Spool) firstHeld(e *epoch) uint64 {
	if e.first > 0 {
		return e.first
	}
	for _, h := range s.mem {
		if h.epoch == e {
			return h.sequence
		}
	}
	return e.newest + 1
}

func (s *Spool) epoch(id uint64) *epoch {
	for _, e := range s.epochs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// Resume begins a stream with the cursors of its Welcome: what the collector has
// is freed, what a killed process lost becomes a gap, and every other run gets its
// lane. The newest run of each task goes first, in the LIVE lane.
func (s *Spool) Resume(cursors []*agentpb.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps.unsent()
	for _, e := range s.epochs {
		// A collector that was restored from a backup may have decided less.
		e.sent, e.decided = [2]uint64{}, 0
	}
	for _, c := range cursors {
		if e := s.epoch(c.GetEpoch()); e != nil {
			e.advance(c.GetLane(), min(c.GetArchived(), e.newest))
			e.decide(c.GetLane(), min(c.GetDecided(), e.newest))
		}
	}
	for _, e := range s.epochs {
		s.release(e)
		if e.unclean {
			s.findLost(e)
		}
		e.resumed = true
	}
	s.assign()
	s.forgetEpochs()
	s.persistIfNeeded()
	s.writeMark()
	s.signal()
}

func (s *Spool) release(e *epoch) {
	was := slices.Clone(e.lives)
	e.release()
	s.mem = slices.DeleteFunc(s.mem, func(h *held) bool {
		if h.epoch != e {
			return false
		}
		_, wasLive := slices.BinarySearch(was, h.sequence)
		gone := e.done(h.sequence) || (wasLive && !e.isLive(h.sequence))
		if gone {
			s.memBytes -= int64(len(h.payload))
		}
		return gone
	})
	if len(s.mem) == 0 {
		s.mem = nil
	}
}

// findLost names the runs of a killed process that are nowhere.
func (s *Spool) findLost(e *epoch) {
	next := max(1, e.missing())
	lost := func(to uint64) {
		for ; next <= to; next++ {
			if !s.gaps.covers(e.ordinal, next) {
				s.gaps.add(e.ordinal, next, e.reason)
				s.counts[e.reason]++
			}
		}
	}
	if e.first > 0 && s.store != nil {
		err := s.store.scan(e.ordinal, next, func(sequence uint64, _ []byte) bool {
			lost(sequence - 1)
			next = sequence + 1
			return true
		})
		if err != nil {
			s.diskError(err)
		}
	}
	lost(e.newest)
	e.unclean, e.unsure = false, false
	s.changed = true
}

// assign gives every run that is held a lane: the newest of each task LIVE, unless
// that lane has passed it, and the others the backlog.
func (s *Spool) assign() {
	for task, at := range s.tasks {
		e := s.byOrdinal(at.ordinal)
		if e == nil || !s.holds(e, at.sequence) {
			delete(s.tasks, task)
			continue
		}
		if at.sequence > max(e.archived[live], e.sent[live]) {
			e.addLive(at.sequence)
		}
	}
	for _, e := range s.epochs {
		e.horizon = e.newest
	}
}

func (s *Spool) byOrdinal(ordinal uint64) *epoch {
	i, found := slices.BinarySearchFunc(s.epochs, ordinal, func(e *epoch, o uint64) int { return compare(e.ordinal, o) })
	if !found {
		return nil
	}
	return s.epochs[i]
}

func (s *Spool) holds(e *epoch, sequence uint64) bool {
	if s.inMemory(e, sequence) != nil {
		return true
	}
	if e.done(sequence) || e.first == 0 || sequence < e.first || sequence > e.last {
		return false
	}
	record, err := s.store.get(e.ordinal, sequence)
	return err == nil && record != nil
}

func (s *Spool) inMemory(e *epoch, sequence uint64) *held {
	i, found := slices.BinarySearchFunc(s.mem, position{e.ordinal, sequence}, func(h *held, p position) int {
		if c := compare(h.epoch.ordinal, p.ordinal); c != 0 {
			return c
		}
		return compare(h.sequence, p.sequence)
	})
	if !found {
		return nil
	}
	return s.mem[i]
}

// maxLag is how many runs the LIVE lane may be behind before it skips to the newest
// of each task and leaves the others to the backlog.
const maxLag = 1024

// Live returns the next runs of the LIVE lane, at most maxRuns of about maxBytes
// together, and an empty batch when there are none.
func (s *Spool) Live(maxRuns, maxBytes int) Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.running(); r.newest-min(r.newest, max(r.horizon, r.sent[live])) > maxLag {
		s.assign()
		s.persistIfNeeded()
	}
	for _, e := range s.epochs {
		if !e.resumed {
			continue
		}
		b := batch{epoch: e, lane: live, maxRuns: maxRuns, maxBytes: maxBytes}
		s.assigned(&b)
		if !b.full() && e.undecided() < liveWindow {
			s.each(e, max(e.horizon, e.sent[live]), func(sequence uint64, payload []byte) bool {
				if s.take(&b, sequence, payload) {
					e.addLive(sequence)
				}
				return !b.full()
			})
		}
		if len(b.entries) > 0 {
			return b.result()
		}
	}
	return Batch{}
}

// assigned takes what has been given to the LIVE lane before.
func (s *Spool) assigned(b *batch) {
	e := b.epoch
	i, found := slices.BinarySearch(e.lives, e.sent[live])
	if found {
		i++
	}
	for _, sequence := range slices.Clone(e.lives[i:]) {
		if b.full() {
			return
		}
		if payload := s.fetch(e, sequence); payload != nil {
			s.take(b, sequence, payload)
		}
	}
}

// Backlog returns the next runs of the BACKLOG lane, like Live.
func (s *Spool) Backlog(maxRuns, maxBytes int) Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.epochs {
		from := max(e.sent[backlog], e.archived[backlog])
		if !e.resumed || from >= e.horizon {
			continue
		}
		b := batch{epoch: e, lane: backlog, maxRuns: maxRuns, maxBytes: maxBytes}
		s.each(e, from, func(sequence uint64, payload []byte) bool {
			if sequence > e.horizon {
				return false
			}
			if !e.isLive(sequence) && !e.isFreed(sequence) {
				s.take(&b, sequence, payload)
			}
			return !b.full()
		})
		if len(b.entries) > 0 {
			return b.result()
		}
		e.sent[backlog] = e.horizon
	}
	return Batch{}
}

// batch is a Batch in the making.
type batch struct {
	epoch             *epoch
	lane              agentpb.Lane
	maxRuns, maxBytes int
	entries           []Entry
	bytes             int
}

func (b *batch) full() bool { return len(b.entries) >= b.maxRuns || b.bytes >= b.maxBytes }

func (b *batch) result() Batch { return Batch{b.epoch.id, b.entries, b.bytes} }

// take decodes a run into the batch. One that can't be decoded is named in a gap.
func (s *Spool) take(b *batch, sequence uint64, payload []byte) bool {
	b.epoch.sent[b.lane] = sequence
	run, err := decodeRun(payload)
	if err != nil {
		s.giveUp(b.epoch, sequence, agentpb.Gap_DAMAGED)
		return false
	}
	b.entries = append(b.entries, Entry{sequence, run})
	b.bytes += len(payload)
	return true
}

// giveUp names a held run in a gap and frees it.
func (s *Spool) giveUp(e *epoch, sequence uint64, reason agentpb.Gap_Reason) {
	s.lose(e, sequence, reason)
	e.free(sequence)
	if h := s.inMemory(e, sequence); h != nil {
		s.memBytes -= int64(len(h.payload))
		s.mem = slices.DeleteFunc(s.mem, func(x *held) bool { return x == h })
	}
	s.schedule(tidyAfter)
}

// Ack takes in how far the collector has come in a lane.
func (s *Spool) Ack(c *agentpb.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, lane := s.epoch(c.GetEpoch()), c.GetLane()
	if e == nil || int(lane) >= len(e.sent) {
		return
	}
	decided := e.decide(lane, min(c.GetDecided(), e.sent[lane]))
	archived := e.advance(lane, min(c.GetArchived(), e.sent[lane]))
	if archived {
		s.release(e)
		s.confirmGaps(e, lane)
		s.forgetEpochs()
	}
	if archived && s.untidy() {
		s.schedule(tidyAfter)
	}
	if decided || (archived && lane == live) {
		s.signal() // its window may have room again
	}
}

// Refuse gives up a run that the collector does not take.
func (s *Spool) Refuse(epochID, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epoch(epochID)
	if e == nil || e.done(sequence) || s.gaps.covers(e.ordinal, sequence) || !s.holds(e, sequence) {
		return
	}
	s.giveUp(e, sequence, agentpb.Gap_REFUSED)
}

// Gaps returns the gaps that this stream has not carried yet, and counts on their
// being sent before any further run. They are kept until a run that was sent after
// them is archived.
func (s *Spool) Gaps() []*agentpb.Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*agentpb.Gap
	for _, g := range s.gaps {
		e := s.byOrdinal(g.ordinal)
		if g.sent || e == nil {
			continue
		}
		g.sent, g.after = true, s.running().sent[live]
		out = append(out, &agentpb.Gap{Epoch: e.id, From: g.from, To: g.to, Reason: g.reason})
	}
	return out
}

func (s *Spool) confirmGaps(e *epoch, lane agentpb.Lane) {
	s.gaps = slices.DeleteFunc(s.gaps, func(g *gap) bool {
		if !g.sent {
			return false
		}
		if lane == backlog {
			return g.ordinal == e.ordinal && e.archived[backlog] >= g.to
		}
		return e == s.running() && e.archived[live] > g.after
	})
}

// forgetEpochs removes earlier epochs of which nothing is left to tell.
func (s *Spool) forgetEpochs() {
	last, before := s.running(), len(s.epochs)
	s.epochs = slices.DeleteFunc(s.epochs, func(e *epoch) bool {
		return e != last && e.resumed && !e.unclean && s.firstHeld(e) > e.newest && !s.hasGaps(e)
	})
	s.changed = s.changed || len(s.epochs) < before
}

func (s *Spool) hasGaps(e *epoch) bool {
	return slices.ContainsFunc(s.gaps, func(g *gap) bool { return g.ordinal == e.ordinal })
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
