package engine_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// brewing declares a check as a plugin brings it: coffee that is too cold below a
// temperature.
func brewing(celsius int) string {
	return fmt.Sprintf(`name: coffee
summary: The coffee machine
interval: 60s
timeout: 10s
systems: [linux]
metrics:
  - {name: water_celsius, type: gauge, unit: celsius, summary: How hot the water is}
rules:
  - name: cold
    title: "The coffee at {{host}} is cold"
    critical: water_celsius < %d
    impact: high
    urgency: high
`, celsius)
}

// guest is a host whose agent has checks of its own.
type guest struct {
	*engine.Session
	w        *world
	name     string
	declares map[string]string // texts by check
	welcome  *agentpb.Welcome
	epoch    uint64
	seq      uint64
}

func (w *world) joinCustomer(customer, name string) {
	w.t.Helper()
	_, err := w.Join(w.t.Context(), engine.Newcomer{
		ID: "id-" + name, Customer: customer, Site: "utrecht", KeySHA256: []byte(name),
		Machine: &agentpb.Machine{Hostname: name, Fingerprint: [][]byte{[]byte("board-" + name), []byte("nic-" + name)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// visit connects a host whose agent declares checks, or does so again after an earlier
// visit.
func (w *world) visit(name string, before *guest, declares map[string]string) *guest {
	w.t.Helper()
	g := &guest{w: w, name: name, declares: declares, epoch: 7}
	var visit uint64
	if before != nil {
		g.epoch, g.seq, visit = before.epoch, before.seq, before.welcome.Visit
	}
	h := hello(name, g.epoch, g.seq, visit)
	for _, check := range slices.Sorted(maps.Keys(declares)) {
		sum := sha256.Sum256([]byte(declares[check]))
		h.Checks = append(h.Checks, &agentpb.CheckDigest{Check: check, Sha256: sum[:]})
	}
	var err error
	if g.Session, g.welcome, err = w.Connect(w.t.Context(), "id-"+name, h); err != nil {
		w.t.Fatal(err)
	}
	return g
}

// asked takes what the collector has to say, and returns what it asks for.
func (g *guest) asked() []string {
	var out []string
	for _, m := range g.Messages() {
		out = append(out, m.GetDeclarationsWanted().GetChecks()...)
	}
	return out
}

// tell answers with the declaration of a check.
func (g *guest) tell(check, text string) {
	g.w.t.Helper()
	if err := g.Declare(g.w.t.Context(), []*agentpb.Declaration{{Check: check, Yaml: []byte(text)}}); err != nil {
		g.w.t.Fatal(err)
	}
}

// define names the coffee's state, with metrics.
func (g *guest) define(check string, metrics ...string) {
	g.w.t.Helper()
	d := &agentpb.Definitions{
		Tasks:  []*agentpb.TaskDefinition{{Number: 1, Check: check}},
		States: []*agentpb.StateDefinition{{Number: 1, Task: 1}},
	}
	for _, m := range metrics {
		d.States[0].Metrics = append(d.States[0].Metrics, &agentpb.MetricDefinition{Name: m})
	}
	if err := g.Define(d); err != nil {
		g.w.t.Fatal(err)
	}
}

// measure sends a result, and waits until it is taken in.
func (g *guest) measure(values ...float64) {
	g.w.t.Helper()
	g.seq++
	err := g.Submit(g.w.t.Context(), &agentpb.Batch{Epoch: g.epoch, Runs: []*agentpb.PackedRun{{
		Sequence: g.seq, Task: 1, PlannedMs: time.Now().UnixMilli(), Complete: true, NextWithinMs: 60_000,
		Results: []*agentpb.PackedResult{{State: 1, Status: checkpb.Status_OK, Summary: new("brewed"), Values: values}},
	}}})
	if err != nil {
		g.w.t.Fatal(err)
	}
	(&stream{Session: g.Session, t: g.w.t}).acked(agentpb.Lane_LIVE, g.seq)
}

// brew is a whole visit: hello, declaration, definition, one result.
func (w *world) brew(name string, limit int, celsius float64) *guest {
	w.t.Helper()
	g := w.visit(name, nil, map[string]string{"coffee": brewing(limit)})
	if len(g.asked()) > 0 {
		g.tell("coffee", brewing(limit))
	}
	g.define("coffee", "water_celsius")
	g.measure(celsius)
	return g
}

// open lists the titles of a customer's open incidents.
func (w *world) open(customer string) []string {
	w.t.Helper()
	var out []string
	for in, err := range w.Incidents(w.t.Context(), customer, incident.Open, "") {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, in.Title)
	}
	return out
}

func (w *world) expect(customer string, titles ...string) {
	w.t.Helper()
	if got := w.open(customer); !slices.Equal(got, titles) {
		w.t.Errorf("open at %s: %q, want %q", customer, got, titles)
	}
}

func (w *world) findings(name string) string {
	w.t.Helper()
	h, err := w.Host("", "id-"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, f := range h.Findings {
		out = append(out, f.Text)
	}
	return strings.Join(out, "\n")
}

func (w *world) levelOf(name string) rules.Level {
	w.t.Helper()
	h, err := w.Host("", "id-"+name)
	if err != nil || len(h.Checks) != 1 {
		w.t.Fatalf("%+v, %v", h.Checks, err)
	}
	return h.Checks[0].Level
}

func TestForeignCheckIsJudgedByItsOwnRules(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	g := w.visit("web1", nil, map[string]string{"coffee": brewing(60)})
	if got := g.asked(); !slices.Equal(got, []string{"coffee"}) {
		t.Fatalf("the agent was asked for %q", got)
	}
	// Results come before the answer, as they do: they are judged once it is there.
	g.define("coffee", "water_celsius")
	g.measure(40)
	if l := w.levelOf("web1"); l != rules.Unknown {
		t.Errorf("before its declaration came, the check is %s", l)
	}
	g.tell("coffee", brewing(60))
	w.expect("acme", "The coffee at web1 is cold")
	if l := w.levelOf("web1"); l != rules.Critical {
		t.Errorf("the check is %s", l)
	}
	g.measure(90)
	w.expect("acme")
	h, err := w.Host("acme", "web1")
	if err != nil || h.Checks[0].Metrics[0].Unit != "celsius" || h.Checks[0].Metrics[0].Help != "How hot the water is" {
		t.Errorf("shown as %+v, %v", h.Checks, err)
	}
	if len(h.Findings) > 0 {
		t.Errorf("findings %+v", h.Findings)
	}
	if again := w.visit("web1", g, g.declares); len(again.asked()) > 0 {
		t.Error("it is asked for again")
	}
}

func TestCustomersKnowNothingOfEachOthersDeclarations(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.joinCustomer("acme", "web1")
	w.joinCustomer("globex", "web2")
	w.joinCustomer("acme", "web3")
	w.brew("web1", 60, 50)
	w.brew("web2", 40, 50)
	w.expect("acme", "The coffee at web1 is cold")
	w.expect("globex")
	// Another version of the plugin at the same customer has rules of its own.
	w.brew("web3", 40, 50)
	w.expect("acme", "The coffee at web1 is cold")
	if got := len(w.Declared("acme")); got != 2 || len(w.Declared("globex")) != 1 || len(w.Declared("")) != 3 {
		t.Errorf("acme has %d declarations", got)
	}
	// What one customer's host brought, another's is asked for all the same.
	w.joinCustomer("globex", "web4")
	g := w.visit("web4", nil, map[string]string{"coffee": brewing(60)})
	if got := g.asked(); len(got) != 1 {
		t.Errorf("asked for %q", got)
	}
	// Within the customer it is known by its digest.
	w.joinCustomer("acme", "web5")
	if got := w.visit("web5", nil, map[string]string{"coffee": brewing(60)}).asked(); len(got) != 0 {
		t.Errorf("asked for %q", got)
	}
}

func TestForeignChecksSurviveARestart(t *testing.T) {
	db, _, err := boltstore.Open(filepath.Join(t.TempDir(), "wacht.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := newWorld(t, db)
	w.join("web1")
	before := w.brew("web1", 60, 50)
	w.expect("acme", "The coffee at web1 is cold")
	w.Stop()

	w.start()
	w.expect("acme", "The coffee at web1 is cold")
	if l := w.levelOf("web1"); l != rules.Critical {
		t.Errorf("after the restart the check is %s", l)
	}
	g := w.visit("web1", before, before.declares)
	if got := g.asked(); len(got) > 0 {
		t.Fatalf("asked again for %q", got)
	}
	g.define("coffee", "water_celsius")
	g.measure(70)
	w.expect("acme")
	g.measure(50)
	w.expect("acme", "The coffee at web1 is cold")
}

func TestPluginThatIsUpgradedIsJudgedAnew(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	before := w.brew("web1", 60, 50)
	w.expect("acme", "The coffee at web1 is cold")
	// The next version thinks that 50 °C is fine: what the old rule opened ends with the
	// first result that the new one judges.
	g := w.visit("web1", before, map[string]string{"coffee": brewing(40)})
	g.tell("coffee", brewing(40))
	g.define("coffee", "water_celsius")
	g.measure(50)
	w.expect("acme")
	// An agent that does not have the check any more is not judged by what it had.
	g = w.visit("web1", g, nil)
	g.define("coffee", "water_celsius")
	g.measure(10)
	w.expect("acme")
	if l := w.levelOf("web1"); l != rules.Unknown {
		t.Errorf("the check is %s", l)
	}
	w.finding("did not name it")
}

func TestIncidentOfAPluginThatIsRemovedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		g := w.brew("web1", 60, 40)
		w.expect("acme", "The coffee at web1 is cold")
		g.Close()
		// The agent retires the task of a plugin that is gone: a complete run of nothing.
		g = w.visit("web1", g, nil)
		g.define("coffee", "water_celsius")
		g.seq++
		err := g.Submit(t.Context(), &agentpb.Batch{Epoch: g.epoch, Runs: []*agentpb.PackedRun{{
			Sequence: g.seq, Task: 1, PlannedMs: time.Now().UnixMilli(), Complete: true,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // tickets are held against states now and then
		w.expect("acme")
	})
}

func TestBuiltInChecksAreNotTheAgentsToDeclare(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	silent := strings.ReplaceAll(brewing(1), "name: coffee", "name: disk")
	g := w.visit("web1", nil, map[string]string{"disk": silent})
	if got := g.asked(); len(got) != 0 {
		t.Fatalf("asked for %q", got)
	}
	g.tell("disk", silent)
	w.finding(`a declaration of check "disk" was not asked for`)
	g.define("disk", "size_bytes", "free_bytes", "free_ratio")
	g.measure(100<<30, 1<<30, 0.01)
	w.expect("acme", "disk is nearly full")
	if got := w.Declared(""); len(got) != 0 {
		t.Errorf("declared: %v", got)
	}
}

// later lets time pass without the collector: its timers would tick through months.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	w.Stop()
	if err := w.history.Close(); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(d)
	var err error
	if w.history, err = history.Open(w.t.TempDir(), history.Options{}); err != nil {
		w.t.Fatal(err)
	}
	w.start()
	time.Sleep(10 * time.Minute) // for the sweep
}

func TestDeclarationThatNobodyNamesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		db, coffee := memstore.New(), map[string]string{"coffee": brewing(60)}
		w := newWorld(t, db)
		w.join("web1")
		w.join("web2")
		first := w.visit("web1", w.brew("web1", 60, 70), nil)
		first.Close()
		second := w.brew("web2", 60, 70)
		second.Close()
		w.later(40 * day) // while a host names it, it is kept however long that is silent
		if got := len(w.Declared("acme")); got != 1 {
			t.Fatalf("%d declarations are used", got)
		}
		w.visit("web2", second, nil).Close()
		w.later(29 * day)
		first = w.visit("web1", first, coffee)
		if got := first.asked(); len(got) != 0 {
			t.Fatalf("after 29 days it is asked for again: %q", got)
		}
		first = w.visit("web1", first, nil)
		first.Close()
		w.later(31 * day)
		if got := w.visit("web1", first, coffee).asked(); len(got) != 1 {
			t.Errorf("after 31 days it is asked for %q", got)
		}
		if rows := count(t, db, "declarations"); rows != 0 {
			t.Errorf("%d rows are left", rows)
		}
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// count counts a customer's rows of a table.
func count(t *testing.T, s store.Store, table string) (n int) {
	t.Helper()
	for _, err := range s.Scan(t.Context(), &store.Table{Name: table}, "acme", store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestAgentThatDoesNotAnswerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memstore.New())
		w.join("web1")
		g := w.visit("web1", nil, map[string]string{"coffee": brewing(60)})
		time.Sleep(10 * time.Minute)
		w.finding("did not tell the declaration of check coffee")
		g.Close()
		w.Stop()
		if err := w.history.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPolicyChangesForeignRules(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	g := w.brew("web1", 60, 70)
	w.expect("acme")
	strict := policyOf(t, `
- match: {customer: acme}
  checks:
    coffee: {interval: 5m}
  rules:
    coffee:
      cold: {critical: water_celsius < 80}
      sour: {title: sour, critical: ph < 4}
`)
	if err := w.SetPolicy(t.Context(), strict); err != nil {
		t.Fatal(err)
	}
	var task strings.Builder
	for _, m := range g.Messages() {
		for _, p := range m.GetPolicy().GetTasks() {
			task.WriteString(p.String())
		}
	}
	if !strings.Contains(task.String(), "300000") {
		t.Errorf("the agent got the tasks %q", task.String())
	}
	if got := w.Unfit(); len(got) != 1 || !strings.Contains(got[0], "customer acme, check coffee: msp.yaml:8: rule sour of coffee, critical") {
		t.Errorf("unfit: %q", got)
	}
	g.measure(70)
	w.expect("acme", "The coffee at web1 is cold")
	// A host that comes with the check later is judged by the same, and told what is not.
	w.join("web2")
	w.brew("web2", 60, 70)
	w.expect("acme", "The coffee at web2 is cold", "The coffee at web1 is cold")
	if got := w.findings("web2"); !strings.Contains(got, "the policy does not fit check coffee") {
		t.Errorf("findings: %s", got)
	}
	if err := w.SetPolicy(t.Context(), policyOf(t, "")); err != nil {
		t.Fatal(err)
	}
	g.measure(70)
	w.expect("acme", "The coffee at web2 is cold")
}
