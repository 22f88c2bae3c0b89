package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/spool"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// host is an agent's lower half: spool and uplink with a state folder.
type host struct {
	t      *testing.T
	c      *uplinktest.Collector
	dir    string
	opts   Options
	spool  *spool.Spool
	uplink *Uplink
	stop   func()
	given  map[uplinktest.RunID]bool
	count  int
}

func join(t *testing.T, c *uplinktest.Collector) *enroll.Identity {
	t.Helper()
	text := c.Token()
	token, err := agentpb.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Dial("collector", credentials.NewTLS(enroll.JoinTLS(token, time.Now())), c.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id, err := enroll.Join(t.Context(), conn, text, &agentpb.Machine{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newHost(t *testing.T, c *uplinktest.Collector) *host {
	t.Helper()
	h := &host{t: t, c: c, dir: t.TempDir(), given: map[uplinktest.RunID]bool{}}
	if err := join(t, c).Save(h.dir); err != nil {
		t.Fatal(err)
	}
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *host) start() {
	h.t.Helper()
	id, err := enroll.Load(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.spool, err = spool.Open(spool.Options{Dir: h.dir, Owner: id.HostID, BootID: "b"}); err != nil {
		h.t.Fatal(err)
	}
	o := h.opts
	o.Address, o.Dial, o.StateDir, o.Identity, o.Spool = "collector", h.c.Dial, h.dir, id, h.spool
	o.Machine = &agentpb.Machine{Hostname: "h"}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if h.uplink, err = New(o); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		h.uplink.Run(ctx)
		close(done)
	}()
	h.stop = func() {
		cancel()
		<-done
		if err := h.spool.Close(); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *host) id() string { return h.uplink.identity().HostID }

// run appends a run of each task at the present tick.
func (h *host) run(tasks ...string) {
	h.t.Helper()
	for _, task := range tasks {
		h.count++
		run := &checkpb.Run{
			Check: task, PlannedMs: time.Now().UnixMilli(), NextWithinMs: 120_000, Complete: true,
			Results: []*checkpb.Result{
				{Item: "/", Summary: "fine", Metrics: []*checkpb.Metric{{Name: "free_bytes", Value: float64(h.count)}}},
				{Item: "/var", Summary: fmt.Sprint("number ", h.count/7)},
			},
		}
		if h.count%3 == 0 { // now and then a metric can't be had
			run.Results[0].Metrics = nil
		}
		if err := h.spool.Append(run); err != nil {
			h.t.Fatal(err)
		}
		epochs := h.spool.Epochs()
		last := epochs[len(epochs)-1]
		h.given[uplinktest.RunID{Epoch: last.GetEpoch(), Sequence: last.GetNewest()}] = true
	}
}

// check demands that what is missing is exactly what the gaps name.
func (h *host) check() {
	h.t.Helper()
	got := h.c.Host(h.id())
	arrived := map[uplinktest.RunID]bool{}
	for _, r := range got.Runs {
		arrived[r.RunID] = true
	}
	gaps := map[uplinktest.RunID]bool{}
	for _, g := range got.Gaps {
		for s := g.GetFrom(); s <= g.GetTo(); s++ {
			gaps[uplinktest.RunID{Epoch: g.GetEpoch(), Sequence: s}] = true
		}
	}
	for id := range h.given {
		if arrived[id] == gaps[id] {
			h.t.Errorf("run %v arrived: %v, in a gap: %v", id, arrived[id], gaps[id])
		}
	}
	if len(arrived)+len(gaps) != len(h.given) {
		h.t.Errorf("%d runs were given, %d arrived and %d are in gaps", len(h.given), len(arrived), len(gaps))
	}
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		for range 100 {
			h.run("disk", "cpu")
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		h.check()
		got := c.Host(h.id())
		for i, r := range got.Runs {
			if r.Lane != agentpb.Lane_LIVE || r.At.UnixMilli()-r.PlannedMs > 1000 {
				t.Fatalf("run %d came %v late in lane %v", i, r.At.Sub(time.UnixMilli(r.PlannedMs)), r.Lane)
			}
			if want := fmt.Sprint("number ", (i+1)/7); r.Summaries[0] != "fine" || r.Summaries[1] != want {
				t.Fatalf("run %d has the summaries %q, not %q", i, r.Summaries, want)
			}
		}
		st := h.uplink.Status()
		if got.Streams != 1 || !st.Connected || st.Customer != "example" || st.Skew.Abs() > time.Second || time.Since(st.LastAck) > time.Minute {
			t.Errorf("status %+v after %d streams", st, got.Streams)
		}
		if s := h.spool.Stats(); s.Runs != 0 || s.OnDisk != 0 {
			t.Errorf("the spool holds %+v", s)
		}
	})
}

// The collector is away for a day; then the newest of every task comes first and
// the backlog follows in order, while live runs go on.
func TestOutageOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		h.run("disk", "cpu", "ping")
		time.Sleep(time.Minute)
		c.Set(func(c *uplinktest.Collector) { c.Down = true })
		c.Cut()
		synctest.Wait() // nothing is under way when the outage begins
		for range 24 * 60 {
			h.run("disk", "cpu", "ping")
			time.Sleep(time.Minute)
		}
		back := time.Now()
		c.Set(func(c *uplinktest.Collector) { c.Down = false })
		for range 10 {
			time.Sleep(time.Minute)
			h.run("disk", "cpu", "ping")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		h.check()
		var backlog, first []uplinktest.Received
		for _, r := range c.Host(h.id()).Runs[3:] {
			if r.Lane == agentpb.Lane_BACKLOG {
				backlog = append(backlog, r)
			} else if len(first) < 3 {
				first = append(first, r)
			}
		}
		for _, r := range first {
			if age := back.UnixMilli() - r.PlannedMs; age > 60_000 || age < 0 {
				t.Errorf("the first live run after the outage is %d ms old", age)
			}
		}
		for i := 1; i < len(backlog); i++ {
			if backlog[i].Sequence <= backlog[i-1].Sequence {
				t.Fatalf("the backlog is out of order at %d", i)
			}
		}
		if len(backlog) != 3*(24*60-1) {
			t.Errorf("the backlog had %d runs", len(backlog))
		}
		if rate := float64(len(backlog)) / backlog[len(backlog)-1].At.Sub(backlog[0].At).Seconds(); rate > 1.2*DefaultBacklogRate {
			t.Errorf("the backlog came at %.0f runs a second", rate)
		}
		if s := h.spool.Stats(); s.Runs != 0 || s.FileBytes > 256<<10 {
			t.Errorf("afterwards the spool holds %+v", s)
		}
	})
}

// Acknowledgements that come twice, or are lost with the connection, lose nothing.
func TestAcknowledgementsTwiceAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Twice = true
		h := newHost(t, c)
		for i := range 300 {
			h.run("disk", "cpu")
			switch i % 30 {
			case 10:
				c.Set(func(c *uplinktest.Collector) { c.Hold = true })
			case 20:
				c.Cut()
				c.Set(func(c *uplinktest.Collector) { c.Hold = false })
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		h.check()
		if n := c.Host(h.id()).Streams; n < 10 {
			t.Errorf("%d streams", n)
		}
		if s := h.spool.Stats(); s.Runs != 0 {
			t.Errorf("the spool holds %+v", s)
		}
	})
}

func TestRestartAndKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		h.run("disk", "cpu")
		time.Sleep(time.Second)
		c.Set(func(c *uplinktest.Collector) { c.Down = true })
		c.Cut()
		time.Sleep(time.Second)
		h.run("disk", "cpu")
		h.stop()
		c.Set(func(c *uplinktest.Collector) { c.Down = false })
		h.start()
		h.run("disk", "cpu")
		time.Sleep(time.Minute)
		synctest.Wait()
		h.check()
		if n := len(c.Host(h.id()).Hello.GetEpochs()); n != 2 {
			t.Errorf("the second hello named %d epochs", n)
		}
	})
}

func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		time.Sleep(time.Second)
		h.uplink.Leave(agentpb.Goodbye_REBOOT)
		h.run("disk")
		h.stop()
		got := c.Host(h.id())
		if got.Goodbye.GetReason() != agentpb.Goodbye_REBOOT || len(got.Runs) != 1 {
			t.Errorf("goodbye %v after %d runs", got.Goodbye, len(got.Runs))
		}
		h.start()
	})
}

// A copied state folder: the second to come back is told so, joins as a host of its
// own, and spoils nothing of the first.
func TestClone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		h.run("disk")
		time.Sleep(time.Second)
		h.stop()
		clone := &host{t: t, c: c, dir: t.TempDir(), given: map[uplinktest.RunID]bool{}}
		if err := os.CopyFS(clone.dir, os.DirFS(h.dir)); err != nil {
			t.Fatal(err)
		}
		h.start()
		h.run("disk")
		time.Sleep(time.Second)
		original := h.id()
		renamed := ""
		clone.opts.Renamed = func(id *enroll.Identity) { renamed = id.HostID }
		clone.start()
		defer func() { clone.stop() }()
		clone.run("cpu")
		time.Sleep(time.Minute)
		clone.given = map[uplinktest.RunID]bool{} // what a copy spooled belongs to nobody
		clone.run("cpu", "memory")
		time.Sleep(time.Minute)
		synctest.Wait()
		if h.id() != original || clone.id() == original || renamed != clone.id() || len(c.Hosts()) != 2 {
			t.Fatalf("the original is %s, the clone %s", h.id(), clone.id())
		}
		h.check()
		clone.check()
		if stored, err := enroll.Load(clone.dir); err != nil || stored.HostID != clone.id() {
			t.Errorf("stored: %v, %v", stored, err)
		}
		clone.stop()
		clone.start()
		time.Sleep(time.Minute)
		if st := clone.uplink.Status(); !st.Connected || st.HostID != renamed {
			t.Errorf("after a restart the clone is %+v", st)
		}
	})
}

func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		time.Sleep(time.Second)
		c.Revoke(h.id())
		time.Sleep(24 * time.Hour)
		if n := c.Host(h.id()).Streams; n != 1 {
			t.Errorf("%d streams", n)
		}
		if st := h.uplink.Status(); st.Connected || !strings.Contains(st.Error, "revoked this host") {
			t.Errorf("status %+v", st)
		}
	})
}

// A host that waits for approval asks again within minutes, and keeps what it measures.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		time.Sleep(time.Second)
		c.Wait(h.id(), true)
		time.Sleep(24 * time.Hour)
		if st := h.uplink.Status(); st.Connected || !strings.Contains(st.Error, "has not approved this host yet: results are kept until it does (because)") {
			t.Errorf("status %+v", st)
		}
		c.Wait(h.id(), false)
		time.Sleep(3 * time.Minute)
		if st := h.uplink.Status(); !st.Connected || st.HostID != h.id() {
			t.Errorf("after approval it is %+v", st)
		}
	})
}

func TestProtocolUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Protocol = 2
		h := newHost(t, c)
		time.Sleep(time.Hour)
		if st := h.uplink.Status(); st.Connected || !strings.Contains(st.Error, "does not speak this agent's protocol") {
			t.Errorf("status %+v", st)
		}
		c.Set(func(c *uplinktest.Collector) { c.Protocol = agentpb.ProtocolVersion })
		time.Sleep(time.Hour)
		if !h.uplink.Status().Connected {
			t.Error("it did not come back")
		}
	})
}

func TestRefusedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Hold = true
		c.Refuse = map[uint64]bool{2: true}
		h := newHost(t, c)
		h.run("disk", "cpu", "ping")
		time.Sleep(time.Second)
		c.Set(func(c *uplinktest.Collector) { c.Hold = false })
		h.run("disk")
		time.Sleep(time.Minute)
		synctest.Wait()
		h.check()
		if gaps := c.Host(h.id()).Gaps; len(gaps) != 1 || gaps[0].GetReason() != agentpb.Gap_REFUSED {
			t.Errorf("gaps %v", gaps)
		}
	})
}

func TestRunThatFitsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.MaxMessage = 8 << 10
		h := newHost(t, c)
		big := &checkpb.Run{Check: "process"}
		for i := range 300 {
			big.Results = append(big.Results, &checkpb.Result{Item: fmt.Sprint(i), Summary: strings.Repeat("s", 100)})
		}
		h.run("disk")
		if err := h.spool.Append(big); err != nil {
			t.Fatal(err)
		}
		h.given[uplinktest.RunID{Epoch: h.spool.Epochs()[0].GetEpoch(), Sequence: 2}] = true
		h.run("disk")
		time.Sleep(time.Minute)
		h.run("disk")
		time.Sleep(time.Minute)
		synctest.Wait()
		h.check()
		if n := c.Largest(); n > 8<<10 {
			t.Errorf("the largest message had %d bytes", n)
		}
	})
}

func TestPolicyAndDeclarations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		c.Policy = &agentpb.Policy{Revision: 7}
		c.Wanted = []string{"disk", "absent", "disk", "huge"}
		h := &host{t: t, c: c, dir: t.TempDir(), given: map[uplinktest.RunID]bool{}}
		h.opts.Policy = func(_ context.Context, p *agentpb.Policy) *agentpb.PolicyAnswer {
			return &agentpb.PolicyAnswer{Revision: p.GetRevision()}
		}
		h.opts.Declaration = func(name string) ([]byte, error) {
			if name == "absent" {
				return nil, os.ErrNotExist
			}
			if name == "huge" {
				return make([]byte, checks.MaxDeclarationBytes+1), nil
			}
			return []byte("name: " + name), nil
		}
		if err := join(t, c).Save(h.dir); err != nil {
			t.Fatal(err)
		}
		h.start()
		defer func() { h.stop() }()
		time.Sleep(time.Minute)
		h.uplink.Answer(&agentpb.PolicyAnswer{Revision: 8})
		time.Sleep(time.Minute)
		synctest.Wait()
		got := c.Host(h.id())
		if len(got.Answers) != 2 || got.Answers[0].GetRevision() != 7 || got.Answers[1].GetRevision() != 8 {
			t.Errorf("answers %v", got.Answers)
		}
		if len(got.Declarations) != 1 || got.Declarations["disk"] != "name: disk" {
			t.Errorf("declarations %v", got.Declarations)
		}
	})
}

// Certificates are renewed while connected; a host that was away until its own had
// ended gets a fresh one for its key; and a clock that lies changes none of it.
func TestCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := uplinktest.New(t)
		h := newHost(t, c)
		time.Sleep(25 * 24 * time.Hour)
		synctest.Wait()
		if got := c.Host(h.id()); got.Renewals != 1 || got.Streams != 1 {
			t.Errorf("%d renewals, %d streams", got.Renewals, got.Streams)
		}
		h.stop()
		time.Sleep(60 * 24 * time.Hour)
		h.start()
		time.Sleep(time.Minute)
		if got := c.Host(h.id()); got.Renewals != 2 || got.Streams != 2 || !h.uplink.Status().Connected {
			t.Errorf("after two months: %d renewals, %d streams", got.Renewals, got.Streams)
		}
		h.stop()
		// The collector's time runs on while the machine's clock stands: the agent does
		// not know that its certificate has ended until it is told.
		c.Set(func(c *uplinktest.Collector) { c.Skew = 10 * 365 * 24 * time.Hour })
		h.start()
		time.Sleep(5 * time.Minute)
		if got := c.Host(h.id()); got.Renewals != 3 || !h.uplink.Status().Connected {
			t.Errorf("ten years on: %d renewals, %+v", got.Renewals, h.uplink.Status())
		}
		if skew := h.uplink.Status().Skew; skew > -9*365*24*time.Hour {
			t.Errorf("the skew is %v", skew)
		}
	})
}

func TestClockNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Now().Add(24 * time.Hour))
		if got := time.Until(c.guess()); got != 24*time.Hour {
			t.Errorf("the guess is %v off", got)
		}
		c.hear(time.Now())
		time.Sleep(time.Hour)
		if got := time.Until(c.now()); got != 24*time.Hour {
			t.Errorf("the clock is %v off", got)
		}
		c.hear(time.Now().Add(48 * time.Hour))
		if got := time.Until(c.now()); got != 48*time.Hour {
			t.Errorf("the clock is %v off", got)
		}
	})
}

func TestVisitsOfAnotherHost(t *testing.T) {
	dir := t.TempDir()
	v := visits{HostID: "a", Visit: 9, CollectorAt: time.Unix(5, 0).UTC()}
	if err := v.save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := loadVisits(dir, "a"); err != nil || got != v {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := loadVisits(dir, "b"); err != nil || got.Visit != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
