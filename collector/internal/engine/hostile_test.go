package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// TestMetricThatComesAndGoes sends a state in two shapes in turn: a figure that can't
// be had is left out, and comes back.
func TestMetricThatComesAndGoes(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	err := s.Define(&agentpb.Definitions{States: []*agentpb.StateDefinition{
		{Number: 2, Task: 1, Item: "/data", Metrics: []*agentpb.MetricDefinition{{Name: "free_ratio"}, {Name: "readonly"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	narrow := func() *agentpb.PackedRun {
		r := s.run(time.Now(), 0.5)
		r.Results[0].State, r.Results[0].Values = 2, []float64{0.5, 0}
		return r
	}
	s.send(agentpb.Lane_LIVE, s.run(time.Now(), 0.5), narrow(), s.run(time.Now(), 0.5), narrow(), s.run(time.Now(), 0.01))
	s.acked(agentpb.Lane_LIVE, 5)
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("%d incidents are open", len(got))
	}
	h, err := w.Host("acme", "web1")
	if err != nil || h.States != 1 || len(h.Checks) != 1 || len(h.Checks[0].Metrics) != 3 {
		t.Fatalf("the host has %d states: %+v, %v", h.States, h.Checks, err)
	}
	for _, v := range w.points("disk", "readonly") {
		if v != 0 {
			t.Fatalf("another metric's value is in history: %v", v)
		}
	}
}

func TestAgentThatDiesWhileItConnectsIsNotConnected(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	ctx, die := context.WithCancel(t.Context())
	if _, _, err := w.Connect(ctx, "id-web1", hello("web1", 7, 0, 0)); err != nil {
		t.Fatal(err)
	}
	die()
	eventually(t, func() bool {
		h, err := w.Host("acme", "web1")
		return err == nil && !h.Connected
	})
	if _, _, err := w.Connect(ctx, "id-web1", hello("web1", 7, 0, 1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("who has left already gets %v", err)
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, ready func() bool) {
	t.Helper()
	for !ready() {
		select {
		case <-t.Context().Done():
			t.Fatal("it did not happen")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestMachineThatSaysNonsenseCanBeRevoked(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	h := hello("web1", 7, 0, 0)
	h.Machine.BootTimeMs, h.NowMs = math.MaxInt64, math.MinInt64
	h.Machine.Kernel = strings.Repeat("k", 1<<20)
	if _, _, err := w.Connect(t.Context(), "id-web1", h); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), "acme", "web1", "alice"); err != nil {
		t.Fatal(err)
	}
}

func TestResultsQueuedAtRevocationDoNothing(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.5)
	if err := w.Revoke(t.Context(), "acme", "web1", "alice"); err != nil {
		t.Fatal(err)
	}
	s.send(agentpb.Lane_LIVE, s.run(time.Now(), 0.01))
	w.step()
	if got := w.incidents(""); len(got) != 0 {
		t.Fatalf("a revoked host opened %+v", got)
	}
}

// step waits until everything queued before was committed.
func (w *world) step() {
	w.t.Helper()
	if err := w.SetPolicy(w.t.Context(), policyOf(w.t, "")); err != nil {
		w.t.Fatal(err)
	}
}

func TestCopiesOfOneFolderAreBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	copied := func(n int, of string) error {
		_, err := w.Join(t.Context(), engine.Newcomer{
			ID: fmt.Sprintf("copy-%d", n), Customer: "acme", Site: "utrecht", CloneOf: of, KeySHA256: []byte{byte(n)},
		})
		return err
	}
	if err := copied(0, "id-web1"); !errors.Is(err, engine.ErrCopies) {
		t.Fatalf("a copy that was not noticed gets %v", err)
	}
	s := w.connect("web1", 7, 0, 0)
	s.free(0.5)
	if _, _, err := w.Connect(t.Context(), "id-web1", hello("web1", 8, 0, 0)); err == nil {
		t.Fatal("the copy got in as the original")
	}
	for n := range engine.MaxCopies {
		if err := copied(n, "id-web1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := copied(99, "id-web1"); !errors.Is(err, engine.ErrCopies) {
		t.Fatalf("copy %d gets %v", engine.MaxCopies+1, err)
	}
	if err := copied(99, "copy-0"); !errors.Is(err, engine.ErrCopies) {
		t.Fatalf("a copy of a copy gets %v", err)
	}
}

func TestSeriesOfADayAreBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	const wide = 100
	d := &agentpb.Definitions{}
	for i := range engine.MaxNewSeries/wide + 1 {
		def := &agentpb.StateDefinition{Number: uint32(i + 2), Task: 1, Item: fmt.Sprintf("/churn%d", i)}
		for m := range wide {
			def.Metrics = append(def.Metrics, &agentpb.MetricDefinition{Name: fmt.Sprintf("m%d", m)})
		}
		d.States = append(d.States, def)
	}
	if err := s.Define(d); err != nil {
		t.Fatal(err)
	}
	w.finding("new series in a day")
	s.free(0.01)
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("what the host had before is not taken any more: %d incidents", len(got))
	}
}

func TestUnfitDefinitionSpoilsOnlyItself(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	err := s.Define(&agentpb.Definitions{States: []*agentpb.StateDefinition{{Number: 2, Task: 1, Item: "a\tb"}}})
	if err != nil {
		t.Fatal(err)
	}
	bad, good := s.run(time.Now(), 0.5), s.run(time.Now(), 0.01)
	bad.Results[0].State, bad.Results[0].Values = 2, nil
	s.send(agentpb.Lane_LIVE, bad, good)
	s.acked(agentpb.Lane_LIVE, 2)
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("%d incidents are open", len(got))
	}
}

func TestStreamThatBreaksLimitsIsEnded(t *testing.T) {
	for name, batch := range map[string]func(s *stream) *agentpb.Batch{
		"too many runs": func(*stream) *agentpb.Batch {
			b := &agentpb.Batch{Epoch: 7}
			for i := range engine.MaxBatchRuns + 1 {
				b.Runs = append(b.Runs, &agentpb.PackedRun{Sequence: uint64(i + 1), Task: 1})
			}
			return b
		},
		"no such lane": func(s *stream) *agentpb.Batch {
			return &agentpb.Batch{Epoch: 7, Lane: 5, Runs: []*agentpb.PackedRun{s.run(time.Now(), 0.5)}}
		},
		"refused too often": func(*stream) *agentpb.Batch {
			b := &agentpb.Batch{Epoch: 7}
			for i := range 200 {
				b.Runs = append(b.Runs, &agentpb.PackedRun{Sequence: uint64(i + 1), Task: 9})
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, memstore.New())
			w.join("web1")
			s := w.connect("web1", 7, 0, 0)
			if err := s.Submit(t.Context(), batch(s)); err == nil {
				t.Fatal("it was taken")
			}
		})
	}
}

func TestTicksOfNoTimeAreNotArchived(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	for _, ms := range []int64{math.MinInt64, math.MaxInt64, 0, -1} {
		r := s.run(time.Now(), 0.5)
		r.PlannedMs = ms
		s.send(agentpb.Lane_LIVE, r)
	}
	s.free(0.25)
	if got := w.points("disk", "free_ratio"); len(got) != 1 || got[0] != 0.25 {
		t.Fatalf("history holds %v", got)
	}
}

func TestStateWithoutAPromiseBecomesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		r := s.run(time.Now(), 0.5)
		r.NextWithinMs = 0
		s.send(agentpb.Lane_LIVE, r)
		s.acked(agentpb.Lane_LIVE, 1)
		time.Sleep(3 * time.Hour)
		h, err := w.Host("acme", "web1")
		if err != nil || h.Checks[0].Level != rules.Stale {
			t.Fatalf("three hours after a result that promised nothing: %+v, %v", h.Checks, err)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// failing is a store that takes no commit while broken says so.
type failing struct {
	store.Store
	broken chan struct{}
}

func (f *failing) Commit(ctx context.Context, terms []store.Term, writes []store.Write) error {
	select {
	case <-f.broken:
		return errors.New("no space left on device")
	default:
		return f.Store.Commit(ctx, terms, writes)
	}
}

func TestCommitThatAStopGaveUpIsNotOvertaken(t *testing.T) {
	s := &failing{Store: memstore.New(), broken: make(chan struct{})}
	w := newWorld(t, s)
	w.join("web1")
	st := w.connect("web1", 7, 0, 0)
	st.free(0.5)
	close(s.broken)
	st.send(agentpb.Lane_LIVE, st.run(time.Now(), 0.01))
	st.send(agentpb.Lane_LIVE, st.run(time.Now(), 0.01))
	w.Stop()
	s.broken = make(chan struct{})
	w.start()
	again := w.connect("web1", 7, 3, st.welcome.Visit)
	for _, c := range again.welcome.Cursors {
		if c.Lane == agentpb.Lane_LIVE && c.Decided != 1 {
			t.Fatalf("decided is %d, of which only the first was acknowledged", c.Decided)
		}
	}
	again.seq = 1
	again.free(0.01)
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("%d incidents are open after the breach came again", len(got))
	}
}

func TestHistoryThatIsDownDoesNotBlindTheDesk(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.5)
	if err := w.history.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		s.send(agentpb.Lane_LIVE, s.run(time.Now(), 0.01))
		w.step()
	}
	select {
	case <-s.Done():
		t.Fatal("the stream was ended because history is down")
	default:
	}
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("%d incidents are open", len(got))
	}
}
