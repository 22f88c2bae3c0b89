package engine_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// policyOf reads layers of policy; none leaves the defaults.
func policyOf(t testing.TB, layers string) engine.Policy {
	t.Helper()
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(fstest.MapFS{"msp.yaml": {Data: []byte(layers)}}, specs, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is an engine under test with one host that has a stream.
type world struct {
	*engine.Engine
	t       testing.TB
	store   store.Store
	history *history.Store
	told    []notify.Delivery
}

func newWorld(t testing.TB, s store.Store) *world {
	t.Helper()
	h, err := history.Open(t.TempDir(), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	w := &world{t: t, store: s, history: h}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	specs, err := checks.Declarations()
	if err != nil {
		w.t.Fatal(err)
	}
	w.Engine, err = engine.New(w.t.Context(), engine.Options{
		Store: w.store, History: w.history, Policy: policyOf(w.t, ""), Declarations: specs,
		Router:    notify.NewRouter(notify.Config{{Common: notify.Common{Name: "ops"}}}),
		PublicURL: "https://wacht.example.net/",
		Wake:      func(d []notify.Delivery) { w.told = append(w.told, d...) },
		Logger:    testLog(w.t), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Start()
	w.t.Cleanup(w.Stop)
}

func (w *world) join(name string) inventory.Host {
	w.t.Helper()
	h, err := w.Join(w.t.Context(), engine.Newcomer{
		ID: "id-" + name, Customer: "acme", Site: "utrecht", KeySHA256: []byte(name),
		Machine: &agentpb.Machine{Hostname: name, Fingerprint: [][]byte{[]byte("board-" + name), []byte("nic-" + name)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// stream is an agent's side of a session with one disk check on /data.
type stream struct {
	*engine.Session
	t       testing.TB
	welcome *agentpb.Welcome
	epoch   uint64
	seq     uint64
}

func (w *world) connect(name string, epoch, newest, visit uint64) *stream {
	w.t.Helper()
	s, welcome, err := w.Connect(w.t.Context(), "id-"+name, hello(name, epoch, newest, visit))
	if err != nil {
		w.t.Fatal(err)
	}
	st := &stream{Session: s, t: w.t, welcome: welcome, epoch: epoch, seq: newest}
	st.define("/data")
	return st
}

func hello(name string, epoch, newest, visit uint64) *agentpb.Hello {
	return &agentpb.Hello{
		Protocol: engine.Protocol, NowMs: time.Now().UnixMilli(), Visit: visit,
		Machine: &agentpb.Machine{Hostname: name, Fingerprint: [][]byte{[]byte("board-" + name), []byte("nic-" + name)}},
		Epochs:  []*agentpb.EpochRange{{Epoch: epoch, First: newest + 1, Newest: newest}},
	}
}

func (s *stream) define(items ...string) {
	s.t.Helper()
	d := &agentpb.Definitions{Tasks: []*agentpb.TaskDefinition{{Number: 1, Check: "disk"}}}
	for i, item := range items {
		d.States = append(d.States, &agentpb.StateDefinition{
			Number: uint32(i + 1), Task: 1, Item: item,
			Metrics: []*agentpb.MetricDefinition{{Name: "size_bytes"}, {Name: "free_bytes"}, {Name: "free_ratio"}},
		})
	}
	if err := s.Define(d); err != nil {
		s.t.Fatal(err)
	}
}

// free sends a result of /data with so much of 100 GiB free, and waits for both
// acknowledgements.
func (s *stream) free(ratio float64) {
	s.t.Helper()
	s.send(agentpb.Lane_LIVE, s.run(time.Now(), ratio))
	s.acked(agentpb.Lane_LIVE, s.seq)
}

func (s *stream) run(at time.Time, ratio float64) *agentpb.PackedRun {
	s.seq++
	const size = 100 << 30
	return &agentpb.PackedRun{
		Sequence: s.seq, Task: 1, PlannedMs: at.UnixMilli(), Complete: true, NextWithinMs: 60_000,
		Results: []*agentpb.PackedResult{{
			State: 1, Status: checkpb.Status_OK, Summary: new("seen"), Values: []float64{size, size * ratio, ratio},
		}},
	}
}

func (s *stream) send(lane agentpb.Lane, runs ...*agentpb.PackedRun) {
	s.t.Helper()
	if err := s.Submit(s.t.Context(), &agentpb.Batch{Lane: lane, Epoch: s.epoch, Runs: runs}); err != nil {
		s.t.Fatal(err)
	}
}

// acked waits until a lane is archived up to a sequence number.
func (s *stream) acked(lane agentpb.Lane, seq uint64) {
	s.t.Helper()
	for {
		select {
		case <-s.Ready():
		case <-s.Done():
			s.t.Fatal("the session ended before the acknowledgement")
		}
		for _, m := range s.Messages() {
			if c := m.GetAck().GetCursor(); c != nil && c.Lane == lane && c.Archived >= seq && c.Decided >= seq {
				return
			}
		}
	}
}

func (w *world) incidents(state incident.State) []incident.Incident {
	w.t.Helper()
	var out []incident.Incident
	for in, err := range w.Incidents(w.t.Context(), "acme", state, "") {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, in)
	}
	return out
}

func TestBreachOpensAndRecoveryResolves(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.5)
	if got := w.incidents(""); len(got) != 0 {
		t.Fatalf("half a disk free opened %v", got)
	}
	s.free(0.01)
	open := w.incidents(incident.Open)
	if len(open) != 1 || open[0].Title != "/data is nearly full" || open[0].HostName != "web1" || open[0].Priority == "" {
		t.Fatalf("a full disk gives %+v", open)
	}
	s.free(0.6)
	done := w.incidents(incident.Resolved)
	if len(done) != 1 || done[0].Number != open[0].Number {
		t.Fatalf("after recovery: %+v", done)
	}
	s.free(0.01)
	again := w.incidents(incident.Open)
	if len(again) != 1 || again[0].Number != open[0].Number || again[0].Occurrences != 2 {
		t.Fatalf("a second breach soon after gives %+v", again)
	}
}

func TestPolicyThatDropsARuleEndsWhatItOpened(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.01)
	off := policyOf(t, `
- match: {}
  rules:
    disk:
      space: {disabled: true, reason: we watch this elsewhere}
  checks:
    disk: {interval: 5m}
`)
	if err := w.SetPolicy(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	if got := w.incidents(incident.Open); len(got) != 0 {
		t.Fatalf("still open: %+v", got)
	}
	s.free(0.01)
	if got := w.incidents(incident.Open); len(got) != 0 {
		t.Fatalf("opened without its rule: %+v", got)
	}
}
