package engine_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

func TestRunSentAgainIsNotAppliedAgain(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	full := s.run(time.Now(), 0.01)
	s.send(agentpb.Lane_LIVE, full)
	s.acked(agentpb.Lane_LIVE, 1)
	s.free(0.6)
	s.send(agentpb.Lane_LIVE, full)
	s.free(0.6)
	all := w.incidents("")
	if len(all) != 1 || all[0].Occurrences != 1 || all[0].State != incident.Resolved {
		t.Fatalf("a breach sent twice gives %+v", all)
	}
}

func TestBacklogIsHistoryAndOpensNothing(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 3, 0)
	s.free(0.5)
	s.seq = 0
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	s.send(agentpb.Lane_BACKLOG, s.run(past, 0.01), s.run(past.Add(time.Minute), 0.02), s.run(past.Add(2*time.Minute), 0.5))
	s.acked(agentpb.Lane_BACKLOG, 3)
	if got := w.incidents(""); len(got) != 0 {
		t.Fatalf("an hour-old breach opened %+v", got)
	}
	if got := w.points("disk", "free_ratio"); len(got) != 4 || got[0] != 0.01 || got[2] != 0.5 {
		t.Fatalf("history holds %v", got)
	}
}

// A disk that has filled for three days is a problem, which people are told of once,
// with a reason, a day and a link, and again when it ends.
func TestForecastTells(t *testing.T) {
	w := newWorld(t, memstore.New())
	host := w.join("web1")
	const hours = 70
	s := w.connect("web1", 7, hours, 0)
	s.free(0.20)
	s.seq = 0
	var runs []*agentpb.PackedRun
	for i := range hours {
		at := time.Now().Add(time.Duration(i-hours) * time.Hour).Truncate(time.Second)
		runs = append(runs, s.run(at, 0.20+0.001*float64(hours-i)))
	}
	s.send(agentpb.Lane_BACKLOG, runs...)
	s.acked(agentpb.Lane_BACKLOG, hours)
	for range 2 {
		if err := w.Forecast(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.told) != 1 || w.told[0].Notice.Event != "problem-opened" {
		t.Fatalf("told %+v", w.told)
	}
	opened := w.told[0].Notice
	if p := opened.Problem; p == nil || p.Confidence < 0.8 || p.ReachedAt.Before(time.Now().Add(5*24*time.Hour)) || p.ReachedAt.After(time.Now().Add(15*24*time.Hour)) {
		t.Errorf("the problem is %+v", opened.Problem)
	}
	all := strings.Join(opened.Lines, "\n")
	for _, want := range []string{
		"is a new problem: /data will be full (acme, utrecht, web1)\n", "free_bytes falls by ", "a day (R² ",
		"\nThe limit is reached on ", "the trend fits to ", "\nhttps://wacht.example.net/problems?state=all#" + opened.Problem.Number,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the notice lacks %q:\n%s", want, all)
		}
	}
	if err := w.Revoke(t.Context(), "acme", host.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if len(w.told) != 2 || w.told[1].Notice.Event != "problem-resolved" || w.told[1].Notice.Problem.Number != opened.Problem.Number {
		t.Errorf("told %+v", w.told)
	}
	if w.told[0].Key == w.told[1].Key {
		t.Error("both have one key")
	}
}

// points are the values that history holds of one metric of web1.
func (w *world) points(check, metric string) (out []float64) {
	w.t.Helper()
	now := time.Now()
	lines, err := w.history.Points(w.t.Context(), history.Selection{
		Customer: "acme", Metric: history.MetricName(check, metric),
	}, now.Add(-24*time.Hour), now.Add(time.Hour), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		for _, p := range l.Points {
			out = append(out, p.Mean)
		}
	}
	return out
}

func TestRestartGoesOnWhereItStopped(t *testing.T) {
	db, _, err := boltstore.Open(filepath.Join(t.TempDir(), "wacht.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := newWorld(t, db)
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.01)
	number := w.incidents(incident.Open)[0].Number
	w.Stop()

	w.start()
	again := w.connect("web1", 7, s.seq, s.welcome.Visit)
	for _, c := range again.welcome.Cursors {
		if c.Lane == agentpb.Lane_LIVE && c.Decided != 1 {
			t.Fatalf("the watermark after a restart is %v", c)
		}
	}
	again.free(0.01)
	open := w.incidents(incident.Open)
	if len(open) != 1 || open[0].Number != number || open[0].Occurrences != 1 {
		t.Fatalf("a breach that lasts over a restart gives %+v", open)
	}
	again.free(0.5)
	if got := w.incidents(incident.Resolved); len(got) != 1 || got[0].Number != number {
		t.Fatalf("after the restart and recovery: %+v", got)
	}
}

// An agent that is killed right after it sent learns, when it is back, that history
// has what it sent: it would tell it as lost otherwise.
func TestKilledAgentLosesNothingThatIsDecided(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.send(agentpb.Lane_LIVE, s.run(time.Now(), 0.5))
	for decided := false; !decided; {
		<-s.Ready()
		for _, m := range s.Messages() {
			decided = decided || m.GetAck().GetCursor().GetDecided() == 1
		}
	}
	s.Close()
	h := hello("web1", 8, 0, s.welcome.Visit)
	h.Epochs = append([]*agentpb.EpochRange{{Epoch: 7, First: 2, Newest: 1}}, h.Epochs...)
	_, welcome, err := w.Connect(t.Context(), "id-web1", h)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range welcome.Cursors {
		if c.Epoch == 7 && c.Lane == agentpb.Lane_LIVE && c.Archived != 1 {
			t.Errorf("the cursor of the killed process is %v", c)
		}
	}
}

// What was decided and not archived comes again batch by batch, and history has no more
// than the batches that came.
func TestResentBatchIsArchivedForItselfAlone(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	if err := w.history.Close(); err != nil { // it takes nothing now
		t.Fatal(err)
	}
	now := time.Now()
	runs := []*agentpb.PackedRun{s.run(now.Add(-3*time.Second), 0.5), s.run(now.Add(-2*time.Second), 0.5), s.run(now.Add(-time.Second), 0.5)}
	s.send(agentpb.Lane_LIVE, runs...)
	for decided := false; !decided; {
		<-s.Ready()
		for _, m := range s.Messages() {
			decided = decided || m.GetAck().GetCursor().GetDecided() == 3
		}
	}
	w.Stop()
	var err error
	if w.history, err = history.Open(t.TempDir(), history.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.history.Close() })
	w.start()
	again := w.connect("web1", 7, s.seq, s.welcome.Visit)
	again.send(agentpb.Lane_LIVE, runs[0])
	for archived := uint64(0); archived == 0; {
		<-again.Ready()
		for _, m := range again.Messages() {
			if archived = m.GetAck().GetCursor().GetArchived(); archived > 1 {
				t.Fatalf("run 1 came again, and %d are archived", archived)
			}
		}
	}
	again.send(agentpb.Lane_LIVE, runs[1:]...)
	again.acked(agentpb.Lane_LIVE, 3)
}

// A gap that is told again, because the agent was killed before it knew that it was
// heard, is the same gap.
func TestGapToldAgainIsOne(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	for _, g := range []*agentpb.Gap{{Epoch: 7, From: 3, To: 6}, {Epoch: 7, From: 3, To: 6}, {Epoch: 7, From: 8, To: 8}} {
		g.Reason = agentpb.Gap_LOST
		if err := s.Gap(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.Host("acme", "id-web1")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, f := range got.Findings {
		if strings.Contains(f.Text, "lost") {
			told += f.Count
		}
	}
	if told != 2 {
		t.Errorf("two gaps are told as %+v", got.Findings)
	}
}

func TestCopiesAreToldApart(t *testing.T) {
	refusedAs := func(t *testing.T, w *world, h *agentpb.Hello, code agentpb.Refused_Code) {
		t.Helper()
		_, _, err := w.Connect(t.Context(), "id-web1", h)
		refused, ok := errors.AsType[*engine.RefusedError](err)
		if !ok || refused.Code != code {
			t.Fatalf("got %v, not a refusal with %v", err, code)
		}
	}
	t.Run("a copy beside the original", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		s.free(0.5)
		refusedAs(t, w, hello("web1", 8, 0, 0), agentpb.Refused_EPOCH_REUSED)
		s.free(0.5) // the original is not disturbed
	})
	t.Run("a golden image on other hardware", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		s.free(0.5)
		s.Close()
		refusedAs(t, w, hello("web2", 8, 0, s.welcome.Visit), agentpb.Refused_EPOCH_REUSED)
	})
	t.Run("a sequence that goes back", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		s.free(0.5)
		s.free(0.5)
		s.Close()
		refusedAs(t, w, hello("web1", 7, 1, s.welcome.Visit), agentpb.Refused_EPOCH_REUSED)
	})
	t.Run("a state folder restored on the same machine", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		first := w.connect("web1", 7, 0, 0)
		first.free(0.5)
		second := w.connect("web1", 7, 1, first.welcome.Visit)
		second.free(0.5)
		second.Close()
		w.connect("web1", 9, 0, first.welcome.Visit).free(0.5)
		w.finding("rolled back")
	})
	t.Run("a welcome that never arrived", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		first := w.connect("web1", 7, 0, 0)
		first.free(0.5)
		w.connect("web1", 7, 1, first.welcome.Visit)
		w.connect("web1", 7, 1, first.welcome.Visit).free(0.5)
	})
	t.Run("a replaced network card", func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		h := hello("web1", 7, 0, 0)
		h.Machine.Fingerprint[1] = []byte("another card")
		if _, _, err := w.Connect(t.Context(), "id-web1", h); err != nil {
			t.Fatal(err)
		}
	})
}

// finding demands that web1 has a finding with the text.
func (w *world) finding(text string) {
	w.t.Helper()
	h, err := w.Host("acme", "web1")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range h.Findings {
		if strings.Contains(f.Text, text) {
			return
		}
	}
	w.t.Fatalf("no finding says %q: %+v", text, h.Findings)
}

func TestUnfitRunsAreRefusedOneByOne(t *testing.T) {
	spoil := map[string]func(*agentpb.PackedRun){
		"not a number":         func(r *agentpb.PackedRun) { r.Results[0].Values[0] = math.NaN() },
		"2 values for 3":       func(r *agentpb.PackedRun) { r.Results[0].Values = r.Results[0].Values[:2] },
		"summary has 10485760": func(r *agentpb.PackedRun) { r.Results[0].Summary = new(strings.Repeat("x", 10<<20)) },
		"task 9":               func(r *agentpb.PackedRun) { r.Task = 9 },
		"state 77":             func(r *agentpb.PackedRun) { r.Results[0].State = 77 },
		"no status":            func(r *agentpb.PackedRun) { r.Results[0].Status = 9 },
		"results in one run": func(r *agentpb.PackedRun) {
			for range 1_000_000 {
				r.Results = append(r.Results, r.Results[0])
			}
		},
	}
	for says, f := range spoil {
		t.Run(says, func(t *testing.T) {
			w := newWorld(t, memstore.New())
			w.join("web1")
			s := w.connect("web1", 7, 0, 0)
			bad, good := s.run(time.Now(), 0.5), s.run(time.Now(), 0.01)
			f(bad)
			s.send(agentpb.Lane_LIVE, bad, good)
			s.acked(agentpb.Lane_LIVE, 2)
			if got := w.incidents(incident.Open); len(got) != 1 {
				t.Fatalf("the good run beside it opened %d incidents", len(got))
			}
			w.finding(says)
		})
	}
}

func TestTimeFarAheadSpoilsNobodysHistory(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	w.join("web2")
	bad, good := w.connect("web1", 7, 0, 0), w.connect("web2", 8, 0, 0)
	bad.send(agentpb.Lane_LIVE, bad.run(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), 0.01))
	bad.acked(agentpb.Lane_LIVE, 1)
	good.free(0.25)
	if got := w.points("disk", "free_ratio"); len(got) != 1 || got[0] != 0.25 {
		t.Fatalf("history holds %v", got)
	}
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("a breach with a wrong clock opened %d incidents", len(got))
	}
	w.finding("future")
}

func TestRevokedHostIsCutOff(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.01)
	if err := w.Revoke(t.Context(), "acme", "web1", "alice"); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if _, refused := w.Authorize("id-web1", []byte("web1")); refused == nil || refused.Code != agentpb.Refused_REVOKED {
		t.Fatalf("a revoked host is authorised: %v", refused)
	}
	if got := w.incidents(incident.Open); len(got) != 0 {
		t.Fatalf("incidents of a revoked host stay open: %+v", got)
	}
}

// A host that waits for approval is neither taken in nor missed, and is both once it is
// approved.
func TestHostWaitsForApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		h, err := w.Join(t.Context(), engine.Newcomer{
			ID: "id-web1", Customer: "acme", Site: "utrecht", KeySHA256: []byte("web1"), Pending: true,
			Machine: &agentpb.Machine{Hostname: "web1", Fingerprint: [][]byte{[]byte("board-web1"), []byte("nic-web1")}},
		})
		if err != nil || !h.Pending {
			t.Fatalf("joined as %+v, %v", h, err)
		}
		refused := func() *engine.RefusedError {
			_, _, err := w.Connect(t.Context(), "id-web1", hello("web1", 7, 0, 0))
			r, _ := errors.AsType[*engine.RefusedError](err)
			return r
		}
		if r := refused(); r == nil || r.Code != agentpb.Refused_PENDING || !strings.Contains(r.Reason, "wacht-collector host approve id-web1") {
			t.Fatalf("refused with %v", r)
		}
		time.Sleep(24 * time.Hour)
		if got := w.incidents(""); len(got) != 0 || len(w.told) != 0 {
			t.Fatalf("after a day nobody has approved it: %+v", got)
		}
		w.Stop()
		w.start()
		if r := refused(); r == nil || r.Code != agentpb.Refused_PENDING {
			t.Fatalf("after a restart: %v", r)
		}
		if err := w.Approve(t.Context(), "acme", "web1", "anna"); err != nil {
			t.Fatal(err)
		}
		view, err := w.Host("acme", "web1")
		if err != nil || view.Pending || view.ApprovedBy != "anna" || !view.ApprovedAt.Equal(time.Now()) || len(view.Findings) != 0 {
			t.Errorf("approved, it is %+v, %v", view.HostView, err)
		}
		s := w.connect("web1", 7, 0, 0)
		s.free(0.01)
		if got := w.incidents(incident.Open); len(got) != 1 {
			t.Errorf("a full disk of an approved host opens %+v", got)
		}
		s.Close()
		time.Sleep(time.Hour)
		if got := w.incidents(incident.Open); len(got) != 2 {
			t.Errorf("an hour of silence opens %+v", got)
		}
		if err := w.Revoke(t.Context(), "acme", "web1", "anna"); err != nil {
			t.Fatal(err)
		}
		if err := w.Approve(t.Context(), "acme", "web1", "anna"); !errors.Is(err, desk.ErrWrongState) {
			t.Errorf("approving a revoked host: %v", err)
		}
		if err := w.Approve(t.Context(), "other", "web1", "anna"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("approving another customer's host: %v", err)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestItemThatIsGoneEndsAsNotObserved(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s := w.connect("web1", 7, 0, 0)
	s.free(0.01)
	gone := s.run(time.Now(), 0)
	gone.Results = nil
	s.send(agentpb.Lane_LIVE, gone)
	s.acked(agentpb.Lane_LIVE, 2)
	got := w.incidents(incident.Resolved)
	if len(got) != 1 || got[0].Ending == "fixed" {
		t.Fatalf("an unmounted disk gives %+v", got)
	}
	if h, err := w.Host("acme", "web1"); err != nil || len(h.Checks) != 0 {
		t.Fatalf("the state is still there: %+v, %v", h.Checks, err)
	}
	s.free(0.01)
	if got := w.incidents(incident.Open); len(got) != 1 {
		t.Fatalf("mounted again and full: %d open incidents", len(got))
	}
}

func TestSilentServerIsAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		s.free(0.5)
		s.Close()
		time.Sleep(4 * time.Minute)
		if got := w.incidents(incident.Open); len(got) != 0 {
			t.Fatalf("after 4 minutes: %+v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := w.incidents(incident.Open); len(got) != 1 || got[0].HostName != "web1" {
			t.Fatalf("after 6 minutes: %+v", got)
		}
		w.connect("web1", 7, s.seq, s.welcome.Visit).free(0.5)
		if got := w.incidents(incident.Resolved); len(got) != 1 {
			t.Fatalf("after it came back: %+v", got)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSilenceEndsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		s := w.connect("web1", 7, 0, 0)
		s.free(0.5)
		s.Close()
		time.Sleep(6 * time.Minute)
		w.Stop()
		w.start()
		time.Sleep(4 * time.Minute)
		if got := w.incidents(incident.Open); len(got) != 1 {
			t.Fatalf("the restart of the collector ended or doubled a silence: %+v", got)
		}
		w.connect("web1", 7, s.seq, s.welcome.Visit).free(0.5)
		if got := w.incidents(incident.Resolved); len(got) != 1 {
			t.Fatalf("after it came back: %+v", got)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOverdueStateIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		w.connect("web1", 7, 0, 0).free(0.5)
		time.Sleep(4 * time.Minute)
		h, err := w.Host("acme", "web1")
		if err != nil || len(h.Checks) != 1 || h.Checks[0].Level != rules.Stale {
			t.Fatalf("four minutes after a result that was due each minute: %+v, %v", h.Checks, err)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNewerAgentIsTakenIn(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	s, _, err := w.Connect(t.Context(), "id-web1", hello("web1", 7, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	st := &stream{Session: s, t: t, epoch: 7}
	err = s.Define(&agentpb.Definitions{
		Tasks: []*agentpb.TaskDefinition{{Number: 1, Check: "crystal_ball"}},
		States: []*agentpb.StateDefinition{{Number: 1, Task: 1, Metrics: []*agentpb.MetricDefinition{
			{Name: "future_seconds"}, {Name: "clarity_ratio"}, {Name: "third"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	st.free(0.5)
	st.free(0.01)
	h, err := w.Host("acme", "web1")
	if err != nil || len(h.Checks) != 1 || h.Checks[0].Level != rules.Unknown || len(h.Checks[0].Metrics) != 3 {
		t.Fatalf("an unknown check shows as %+v, %v", h.Checks, err)
	}
	if got := w.points("crystal_ball", "clarity_ratio"); len(got) != 2 {
		t.Fatalf("history holds %v of it", got)
	}
	w.finding("crystal_ball")
}
