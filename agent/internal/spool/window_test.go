package spool

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// A collector whose history is down decides and does not archive: it must go on
// hearing what is wrong, and get everything again when history is back.
func TestLiveGoesOnWhileHistoryIsDown(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, MemoryBytes: 64 << 10})
	s.Resume(nil)
	const runs = 3 * liveWindow
	for i := range runs {
		if err := s.Append(testRun(i + 1)); err != nil {
			t.Fatal(err)
		}
		b := s.Live(10, 1<<20)
		if len(b.Entries) != 1 || b.Entries[0].Sequence != uint64(i+1) {
			t.Fatalf("after %d runs that were decided and not archived, the lane gives %d", i, len(b.Entries))
		}
		s.Ack(&agentpb.Cursor{Epoch: b.Epoch, Decided: uint64(i + 1)})
	}
	if held := s.Stats().Runs; held != runs {
		t.Fatalf("%d runs are held of %d that are not archived", held, runs)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Dir: dir})
	again.Resume([]*agentpb.Cursor{{Epoch: s.running().id, Decided: runs}})
	if got, missing := drain(again); len(got) != runs || len(missing) != 0 {
		t.Fatalf("after history came back %d runs and %d gaps were sent", len(got), len(missing))
	}
}

// A collector that takes nothing up is sent no more than the window.
func TestLiveWindowHoldsBackWhatIsNotDecided(t *testing.T) {
	s := open(t, Options{})
	s.Resume(nil)
	sent := 0
	for range 2 * liveWindow {
		fill(t, s, 1)
		sent += len(s.Live(1, 1<<20).Entries)
	}
	if sent != liveWindow {
		t.Fatalf("%d runs were sent, the window is %d", sent, liveWindow)
	}
	s.Ack(&agentpb.Cursor{Epoch: s.running().id, Decided: 1})
	if sent := len(s.Live(1, 1<<20).Entries); sent != 1 {
		t.Fatalf("with room for one run %d were sent", sent)
	}
}

func TestListsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []uint64
		at := uint64(0)
		for _, step := range rapid.SliceOf(rapid.SampledFrom([]uint64{1, 1, 1, 1, 2, 300, 1 << 40})).Draw(t, "steps") {
			at += step
			list = append(list, at)
		}
		got, err := decodeList(appendList(nil, list))
		if err != nil || !slices.Equal(got, list) {
			t.Fatalf("%v came back as %v, %v", list, got, err)
		}
	})
	whole := make([]uint64, 100_000)
	for i := range whole {
		whole[i] = uint64(i + 1)
	}
	if n := len(appendList(nil, whole)); n > 8 {
		t.Errorf("%d runs in a row take %d bytes", len(whole), n)
	}
	for _, wrong := range []string{"\x00\x01", "\x01\x00\x00", "\x01\x00", "\x01\x00\xff\xff\xff\xff\xff\x01"} {
		if list, err := decodeList([]byte(wrong)); err == nil {
			t.Errorf("%q was read as %v", wrong, list)
		}
	}
}
