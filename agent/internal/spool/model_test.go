package spool

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// crash closes the files as kill -9 would: nothing more is written.
func (s *Spool) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	_ = s.closeFiles()
}

type runID struct{ epoch, sequence uint64 }

// desk is a model of the collector: it drops what a lane's cursor has passed, as
// the contract allows it to.
type desk struct {
	received map[runID]agentpb.Lane
	archived map[uint64]*[2]uint64
	pending  map[uint64]*[2]uint64  // received up to, not archived yet
	known    map[runID]agentpb.Lane // archived, by the lane it came in
	gaps     map[runID]agentpb.Gap_Reason
	acked    map[runID]bool // the agent was told
}

func newDesk() *desk {
	return &desk{
		map[runID]agentpb.Lane{}, map[uint64]*[2]uint64{}, map[uint64]*[2]uint64{},
		map[runID]agentpb.Lane{}, map[runID]agentpb.Gap_Reason{}, map[runID]bool{},
	}
}

func (d *desk) cursor(of map[uint64]*[2]uint64, epoch uint64) *[2]uint64 {
	if of[epoch] == nil {
		of[epoch] = new([2]uint64)
	}
	return of[epoch]
}

func (d *desk) take(t *rapid.T, lane agentpb.Lane, b Batch) {
	at := d.cursor(d.pending, b.Epoch)
	for i, e := range b.Entries {
		if i > 0 && e.Sequence <= b.Entries[i-1].Sequence {
			t.Fatalf("a batch is out of order at %d", e.Sequence)
		}
		if want := fmt.Sprint(e.Sequence); e.Run.GetResults()[0].GetSummary() != want {
			t.Fatalf("run %d has the content of %s", e.Sequence, e.Run.GetResults()[0].GetSummary())
		}
		if e.Sequence <= d.cursor(d.archived, b.Epoch)[lane] {
			continue
		}
		at[lane] = e.Sequence
		d.received[runID{b.Epoch, e.Sequence}] = lane
	}
}

// archive makes durable what a lane has received.
func (d *desk) archive(epoch uint64, lane agentpb.Lane) *agentpb.Cursor {
	to := max(d.cursor(d.pending, epoch)[lane], d.cursor(d.archived, epoch)[lane])
	d.cursor(d.archived, epoch)[lane] = to
	for id, came := range d.received {
		if id.epoch == epoch && came == lane {
			d.known[id] = lane
			delete(d.received, id)
		}
	}
	return &agentpb.Cursor{Epoch: epoch, Lane: lane, Decided: to, Archived: to}
}

// lose forgets what was received and not archived, as a killed collector does.
func (d *desk) lose() {
	clear(d.received)
	clear(d.pending)
}

func (d *desk) cursors() []*agentpb.Cursor {
	var out []*agentpb.Cursor
	for epoch, lanes := range d.archived {
		for lane, to := range lanes {
			out = append(out, &agentpb.Cursor{Epoch: epoch, Lane: agentpb.Lane(lane), Archived: to})
		}
	}
	return out
}

// world is a spool between an oracle of what went in and a model of the collector.
type world struct {
	spool     *Spool
	opts      Options
	desk      *desk
	epochs    uint64
	given     map[runID]bool
	counter   map[uint64]uint64
	connected bool
}

func newWorld(t *rapid.T, opts Options) *world {
	w := &world{opts: opts, desk: newDesk(), given: map[runID]bool{}, counter: map[uint64]uint64{}}
	w.opts.NewEpoch = func() uint64 { w.epochs++; return w.epochs * 1000003 }
	w.open(t)
	return w
}

func (w *world) open(t *rapid.T) {
	s, err := Open(w.opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	w.spool, w.connected = s, false
}

func (w *world) append(t *rapid.T, task string, size int) {
	epoch := w.epochs * 1000003
	w.counter[epoch]++
	sequence := w.counter[epoch]
	run := &checkpb.Run{Check: task, Results: []*checkpb.Result{{
		Summary: fmt.Sprint(sequence), Evidence: string(make([]byte, size)),
	}}}
	if err := w.spool.Append(run); err != nil {
		t.Fatal(err)
	}
	w.given[runID{epoch, sequence}] = true
}

func (w *world) connect() {
	w.spool.Resume(w.desk.cursors())
	w.connected = true
}

func (w *world) gaps(t *rapid.T, exact bool) {
	for _, g := range w.spool.Gaps() {
		if exact && g.GetTo() > w.counter[g.GetEpoch()] {
			t.Fatalf("gap %v ends above the newest run %d", g, w.counter[g.GetEpoch()])
		}
		for sequence := g.GetFrom(); sequence <= g.GetTo(); sequence++ {
			id := runID{g.GetEpoch(), sequence}
			if w.desk.acked[id] {
				t.Fatalf("gap %v names run %v, which was acknowledged", g, id)
			}
			w.desk.gaps[id] = g.GetReason()
		}
	}
}

func (w *world) send(t *rapid.T, lane agentpb.Lane, runs int) bool {
	w.gaps(t, true)
	next := w.spool.Live
	if lane == backlog {
		next = w.spool.Backlog
	}
	b := next(runs, 1<<20)
	w.desk.take(t, lane, b)
	return len(b.Entries) > 0
}

func (w *world) ack(epoch uint64, lane agentpb.Lane) {
	before := w.desk.cursor(w.desk.archived, epoch)[lane]
	c := w.desk.archive(epoch, lane)
	for id, came := range w.desk.known {
		if id.epoch == epoch && came == lane && id.sequence > before && id.sequence <= c.GetArchived() {
			w.desk.acked[id] = true
		}
	}
	w.spool.Ack(c)
}

// drain sends all that is left and checks that nothing is missing.
func (w *world) drain(t *rapid.T) {
	w.connect()
	for range 10000 {
		sent := w.send(t, live, 50)
		sent = w.send(t, backlog, 50) || sent
		for _, epoch := range w.epochIDs() {
			w.ack(epoch, live)
			w.ack(epoch, backlog)
		}
		if !sent {
			break
		}
	}
	for id := range w.given {
		_, gap := w.desk.gaps[id]
		if _, known := w.desk.known[id]; !gap && !known {
			t.Fatalf("run %v is missing, and in no gap", id)
		}
	}
	if st := w.spool.Stats(); st.Runs-st.OnDisk != 0 {
		t.Fatalf("after a drain %d runs are held in memory", st.Runs-st.OnDisk)
	}
}

func (w *world) epochIDs() []uint64 {
	var ids []uint64
	for _, e := range w.spool.Epochs() {
		ids = append(ids, e.GetEpoch())
	}
	return ids
}

func (w *world) actions() map[string]func(*rapid.T) {
	connected := func(t *rapid.T) {
		if !w.connected {
			t.Skip("not connected")
		}
	}
	return map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			for range rapid.IntRange(1, 8).Draw(t, "runs") {
				w.append(t, rapid.SampledFrom([]string{"cpu", "disk", "ping", "rare"}).Draw(t, "task"), 0)
			}
		},
		"connect": func(t *rapid.T) {
			if !w.connected {
				w.connect()
			}
		},
		"live":    func(t *rapid.T) { connected(t); w.send(t, live, rapid.IntRange(1, 9).Draw(t, "n")) },
		"backlog": func(t *rapid.T) { connected(t); w.send(t, backlog, rapid.IntRange(1, 9).Draw(t, "n")) },
		"ack": func(t *rapid.T) {
			connected(t)
			w.ack(rapid.SampledFrom(w.epochIDs()).Draw(t, "epoch"), agentpb.Lane(rapid.IntRange(0, 1).Draw(t, "lane")))
		},
		"decide": func(t *rapid.T) {
			connected(t)
			epoch := rapid.SampledFrom(w.epochIDs()).Draw(t, "epoch")
			lane := agentpb.Lane(rapid.IntRange(0, 1).Draw(t, "lane"))
			archived := w.desk.cursor(w.desk.archived, epoch)[lane]
			w.spool.Ack(&agentpb.Cursor{
				Epoch: epoch, Lane: lane, Archived: archived, Decided: max(archived, w.desk.cursor(w.desk.pending, epoch)[lane]),
			})
		},
		"ack lost": func(t *rapid.T) {
			connected(t)
			w.desk.archive(rapid.SampledFrom(w.epochIDs()).Draw(t, "epoch"), agentpb.Lane(rapid.IntRange(0, 1).Draw(t, "lane")))
		},
		"disconnect": func(t *rapid.T) { connected(t); w.connected = false; w.spool.Disconnected(); w.desk.lose() },
		"flush":      func(*rapid.T) { w.spool.mu.Lock(); w.spool.persist(); w.spool.mu.Unlock() },
		"lag": func(t *rapid.T) {
			connected(t)
			w.spool.mu.Lock()
			w.spool.assign()
			w.spool.persistIfNeeded()
			w.spool.mu.Unlock()
		},
		"clock set": func(t *rapid.T) { w.connected = false; w.spool.StartEpoch(); w.desk.lose() },
		"restart": func(t *rapid.T) {
			if err := w.spool.Close(); err != nil {
				t.Fatal(err)
			}
			w.desk.lose()
			w.open(t)
		},
		"kill":           func(t *rapid.T) { w.spool.crash(); w.desk.lose(); w.open(t) },
		"kill collector": func(t *rapid.T) { w.connected = false; w.spool.Disconnected(); w.desk.lose() },
	}
}

// Whatever happens, a run is archived or named in a gap, a gap names no run that
// was acknowledged, and lanes are ascending.
func TestNothingIsMissing(t *testing.T) {
	dirs := 0
	rapid.Check(t, func(rt *rapid.T) {
		dirs++
		w := newWorld(rt, Options{Dir: fmt.Sprintf("%s/%d", t.TempDir(), dirs), Owner: "h", BootID: "b"})
		defer func() { w.spool.crash() }()
		rt.Repeat(w.actions())
		w.drain(rt)
	})
}

func TestNothingIsMissingWithoutDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, Options{MemoryBytes: 4000})
		actions := w.actions()
		for _, name := range []string{"restart", "kill"} {
			delete(actions, name)
		}
		rt.Repeat(actions)
		w.drain(rt)
	})
}

// A small cap: what is missing is exactly what the gaps name.
func TestDroppedRunsAreExactlyTheGaps(t *testing.T) {
	dirs := 0
	rapid.Check(t, func(rt *rapid.T) {
		dirs++
		w := newWorld(rt, Options{Dir: fmt.Sprintf("%s/%d", t.TempDir(), dirs), MaxBytes: MinMaxBytes, MemoryBytes: 64 << 10, BootID: "b"})
		defer func() { w.spool.crash() }()
		size := rapid.IntRange(1000, 6000).Draw(rt, "size")
		for i := range 1500_000 / size {
			w.append(rt, fmt.Sprint("task", i%7), size+i%100)
		}
		if size := w.spool.Stats().FileBytes; size > MinMaxBytes {
			rt.Fatalf("the file has %d bytes, over its cap of %d", size, MinMaxBytes)
		}
		w.drain(rt)
		for id, reason := range w.desk.gaps {
			if _, known := w.desk.known[id]; known || reason != agentpb.Gap_DROPPED {
				rt.Fatalf("gap %v (%v) names a run that arrived", id, reason)
			}
		}
		if dropped := w.spool.Stats().Dropped; int(dropped) != len(w.desk.gaps) || dropped == 0 {
			rt.Fatalf("%d dropped, %d in gaps", dropped, len(w.desk.gaps))
		}
		if missing := len(w.given) - len(w.desk.known); missing != len(w.desk.gaps) {
			rt.Fatalf("%d missing, %d in gaps", missing, len(w.desk.gaps))
		}
	})
}
