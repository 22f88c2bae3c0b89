package desk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// step is one thing that happens, some time after the one before; without an event
// it is a reconciliation.
type step struct {
	after time.Duration
	ev    desk.Event
}

// world is a desk and a model of what it should say: the levels of the check states,
// which hosts are silent, and everything that the desk answered.
type world struct {
	desk      *desk.Desk
	num       numbers
	now       time.Time
	levels    map[desk.Key]rules.Level
	incidents map[string]incident.Incident
	problems  map[string]problem.Problem
	answers   []desk.Effects
	keys      map[string]bool
}

func newWorld() *world {
	return &world{
		desk: desk.New(desk.Config{}, "acme"), now: time.Date(2026, 3, 27, 9, 0, 0, 0, time.UTC),
		levels: map[desk.Key]rules.Level{}, incidents: map[string]incident.Incident{},
		problems: map[string]problem.Problem{}, keys: map[string]bool{},
	}
}

func (w *world) answer(fx desk.Effects) error {
	if len(fx.Incidents)+len(fx.Problems)+len(fx.Notices)+len(fx.Why) == 0 {
		return nil // a tick that only dropped what is over
	}
	w.answers = append(w.answers, fx)
	for _, in := range fx.Incidents {
		if old := w.incidents[in.Number]; in.Revision < old.Revision || old.State == incident.Closed {
			return fmt.Errorf("%s went from revision %d (%s) to %d (%s)", in.Number, old.Revision, old.State, in.Revision, in.State)
		}
		w.incidents[in.Number] = in
	}
	for _, p := range fx.Problems {
		w.problems[p.Number] = p
	}
	for _, n := range fx.Notices {
		if w.keys[n.Key] {
			return fmt.Errorf("two notices have the key %s", n.Key)
		}
		w.keys[n.Key] = true
	}
	return nil
}

func (w *world) advance(to time.Time) error {
	for due := w.desk.Due(); !due.IsZero() && !due.After(to); due = w.desk.Due() {
		if err := w.answer(w.desk.Tick(due)); err != nil {
			return err
		}
		if next := w.desk.Due(); !next.IsZero() && !next.After(due) {
			return fmt.Errorf("still due at %v after the tick", due)
		}
	}
	w.now = to
	return nil
}

func (w *world) play(s step) error {
	if err := w.advance(w.now.Add(s.after)); err != nil {
		return err
	}
	if s.ev == nil {
		return w.answer(w.desk.Reconcile(w.now, w.level))
	}
	fx, err := w.desk.Handle(w.now, &w.num, s.ev)
	if errors.Is(err, desk.ErrNotFound) || errors.Is(err, desk.ErrWrongState) {
		return nil // people may ask for anything
	}
	if err != nil {
		return err
	}
	w.learn(s.ev)
	if len(fx.Why) == 0 {
		return fmt.Errorf("%T: nothing says why", s.ev)
	}
	if err := w.answer(fx); err != nil {
		return err
	}
	return w.invariants()
}

// level is what rules and hosts say now.
func (w *world) level(k desk.Key) (rules.Level, bool) {
	level, ok := w.levels[k]
	return level, ok
}

func (w *world) learn(ev desk.Event) {
	switch ev := ev.(type) {
	case desk.CheckTransition:
		s := ev.Subject
		w.levels[desk.Key{Host: s.Host, Check: s.Check, Item: s.Item, Rule: ev.Transition.Rule}] = ev.Transition.To
	case desk.ForecastRaised:
		w.levels[desk.Key{Host: ev.Subject.Host, Check: ev.Subject.Check, Item: ev.Subject.Item, Rule: ev.Rule}] = rules.Critical
	case desk.ForecastCleared:
		w.levels[desk.Key{Host: ev.Subject.Host, Check: ev.Subject.Check, Item: ev.Subject.Item, Rule: ev.Rule}] = rules.OK
	case desk.HostSilent:
		w.levels[desk.Key{Host: ev.Host, Rule: desk.RuleSilent}] = rules.Critical
	case desk.HostBack:
		w.levels[desk.Key{Host: ev.Host, Rule: desk.RuleSilent}] = rules.OK
	case desk.HostRevoked:
		for k := range w.levels {
			if k.Host == ev.Host {
				delete(w.levels, k)
			}
		}
	}
}

// invariants hold after every event.
func (w *world) invariants() error {
	open := map[desk.Key]string{}
	for number, in := range w.incidents {
		if in.State != incident.Open {
			continue
		}
		k := desk.KeyOf(&in)
		if k == (desk.Key{}) {
			continue
		}
		if other, ok := open[k]; ok {
			return fmt.Errorf("%s and %s are open about %v", number, other, k)
		}
		open[k] = number
		if level, known := w.levels[k]; (!known || level == rules.OK) && !in.Held {
			return fmt.Errorf("%s is open, but its rule says %s (known: %t)", number, level, known)
		}
	}
	return nil
}

// restart replaces the desk by one made of what was stored: its answers, as JSON.
func (w *world) restart() error {
	var incidents []incident.Incident
	var problems []problem.Problem
	if err := throughJSON(w.incidents, &incidents); err != nil {
		return err
	}
	if err := throughJSON(w.problems, &problems); err != nil {
		return err
	}
	w.desk = desk.New(desk.Config{}, "acme")
	w.desk.Restore(incidents, problems)
	return nil
}

func throughJSON[T any](rows map[string]T, out *[]T) error {
	for _, row := range rows {
		data, err := json.Marshal(row)
		if err != nil {
			return err
		}
		var back T
		if err := json.Unmarshal(data, &back); err != nil {
			return err
		}
		if !reflect.DeepEqual(row, back) {
			return fmt.Errorf("stored as\n%+v\nread as\n%+v", row, back)
		}
		*out = append(*out, back)
	}
	return nil
}

// settle lets all causes end, and says what is still open.
func (w *world) settle() error {
	for k := range w.levels {
		w.levels[k] = rules.OK
	}
	if err := w.answer(w.desk.Reconcile(w.now, w.level)); err != nil {
		return err
	}
	for number, in := range w.incidents {
		if in.State == incident.Open && in.Rule != "" && !in.Held {
			return fmt.Errorf("%s is open though nothing is wrong", number)
		}
	}
	for number, p := range w.problems {
		if p.State == problem.Open {
			return fmt.Errorf("%s is open though nothing is wrong", number)
		}
	}
	return nil
}

func subject(host, item string) rules.Subject {
	role := "server"
	if host == "w1" {
		role = "workstation"
	}
	return rules.Subject{Customer: "acme", Site: "Utrecht", Host: host, Role: role, Check: "disk", Item: item}
}

// anySteps draws a day or so at the desk.
func anySteps(t *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		// Mostly quick, sometimes a night, sometimes longer than things are kept.
		after := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 20*3600), rapid.IntRange(0, 9*24*3600)).Draw(t, "seconds")
		return step{time.Duration(after) * time.Second, anyEvent(t)}
	}), 1, 60).Draw(t, "steps")
}

func anyEvent(t *rapid.T) desk.Event {
	host := rapid.SampledFrom([]string{"h1", "h2", "w1"}).Draw(t, "host")
	item := rapid.SampledFrom([]string{"/", "/var"}).Draw(t, "item")
	number := fmt.Sprintf("INC-%06d", rapid.IntRange(1, 8).Draw(t, "number"))
	by := rapid.SampledFrom([]string{"Anna", "Bob"}).Draw(t, "by")
	switch rapid.IntRange(0, 11).Draw(t, "event") {
	case 0:
		return desk.HostSilent{Host: host, HostName: host, Site: "Utrecht", Role: subject(host, "").Role}
	case 1:
		return desk.HostBack{Host: host}
	case 2:
		return desk.HostRevoked{Host: host, HostName: host, By: by}
	case 3:
		return desk.ForecastRaised{
			Subject: subject(host, item), HostName: host, Rule: "full", Title: "full", Impact: "medium", Urgency: "low",
			ReachedAt: time.Date(2026, 5, rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC), Why: "slope",
		}
	case 4:
		return desk.ForecastCleared{Subject: subject(host, item), Rule: "full", Why: "flat"}
	case 5:
		return desk.Report{Title: "No mail", Customer: "acme", Impact: "low", Urgency: "high", Reporter: by}
	case 6, 7:
		action := rapid.SampledFrom([]desk.Action{desk.Take, desk.Comment, desk.Resolve, desk.Close, desk.Reopen}).Draw(t, "action")
		return desk.Act{Number: number, By: by, Action: action, Text: "text"}
	case 8:
		return nil
	}
	level := rules.Level(rapid.IntRange(0, 4).Draw(t, "level"))
	rule := rapid.SampledFrom([]string{"space", "inodes", "wear"}).Draw(t, "rule")
	ev := desk.CheckTransition{
		Subject: subject(host, item), HostName: host, Title: "{{item}}", Category: "hardware",
		Impact: rapid.SampledFrom([]string{"high", "high", "low", "wrong"}).Draw(t, "impact"), Urgency: "high",
		Transition: rules.Transition{Rule: rule, To: level, Why: "why", Vanished: level == rules.OK && rapid.Bool().Draw(t, "vanished")},
		Summary:    "summary",
	}
	ev.Transition.Flapping = level == rules.Critical && rapid.Bool().Draw(t, "flapping")
	switch rule {
	case "inodes":
		ev.Opens = "warning"
	case "wear":
		ev.Makes = "problem"
	}
	return ev
}

func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, steps := newWorld(), anySteps(t)
		for i, s := range steps {
			if err := w.play(s); err != nil {
				t.Fatalf("step %d, %+v: %v", i, s, err)
			}
		}
		if err := w.settle(); err != nil {
			t.Fatal(err)
		}
		if err := w.advance(w.now.Add(60 * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, in := range w.incidents {
			if in.State == incident.Resolved {
				t.Fatalf("%s was never closed", in.Number)
			}
		}
	})
}

func TestTheSameEventsGiveTheSameAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two, steps := newWorld(), newWorld(), anySteps(t)
		for i, s := range steps {
			if err := errors.Join(one.play(s), two.play(s)); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		if !reflect.DeepEqual(one.answers, two.answers) {
			t.Fatalf("answers differ:\n%+v\n%+v", one.answers, two.answers)
		}
	})
}

func TestARestartChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steady, restarted, steps := newWorld(), newWorld(), anySteps(t)
		every := rapid.IntRange(1, 5).Draw(t, "restart every")
		for i, s := range steps {
			if i%every == 0 {
				if err := restarted.restart(); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(steady.play(s), restarted.play(s)); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
		for i := range steady.answers {
			if !reflect.DeepEqual(steady.answers[i], restarted.answers[i]) {
				t.Fatalf("answer %d differs:\n%+v\n%+v", i, steady.answers[i], restarted.answers[i])
			}
		}
	})
}

// TestAMonthOfOperations replays 200 servers with 10 check states each for 31 days.
func TestAMonthOfOperations(t *testing.T) {
	w, random := newWorld(), rand.New(rand.NewPCG(1, 2))
	bad := map[desk.Key]bool{}
	for range 31 * 24 * 60 / 2 {
		s := subject(fmt.Sprint("h", random.IntN(200)), fmt.Sprint("/", random.IntN(10)))
		k := desk.Key{Host: s.Host, Check: s.Check, Item: s.Item, Rule: "space"}
		to := rules.OK
		if !bad[k] {
			to = rules.Critical
		}
		bad[k] = !bad[k]
		ev := desk.CheckTransition{
			Subject: s, HostName: s.Host, Title: "full", Impact: "medium", Urgency: "medium",
			Transition: rules.Transition{Rule: "space", To: to, Why: "why"},
		}
		if err := w.advance(w.now.Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		fx, err := w.desk.Handle(w.now, &w.num, ev)
		if err != nil {
			t.Fatal(err)
		}
		w.learn(ev)
		if err := w.answer(fx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.invariants(); err != nil {
		t.Error(err)
	}
	open := 0
	for _, in := range w.incidents {
		if in.State == incident.Open {
			open++
		}
	}
	breached := 0
	for _, b := range bad {
		if b {
			breached++
		}
	}
	if open != breached {
		t.Errorf("%d open incidents for %d breaches", open, breached)
	}
	t.Logf("%d incidents in %d answers, %d open at the end", len(w.incidents), len(w.answers), open)
	if err := w.settle(); err != nil {
		t.Error(err)
	}
}

// benchmarkDesk is a desk with 1,000 open incidents of other hosts; later lets eight
// days pass.
func benchmarkDesk(b *testing.B) (handle func(host string, to rules.Level), later func()) {
	d, num := desk.New(desk.Config{}, "acme"), numbers{}
	now := time.Date(2026, 6, 2, 7, 0, 0, 0, time.UTC)
	handle = func(host string, to rules.Level) {
		now = now.Add(time.Second)
		if _, err := d.Handle(now, &num, desk.CheckTransition{
			Subject: subject(host, "/"), HostName: host, Title: "/ is nearly full", Impact: "high", Urgency: "high",
			Transition: rules.Transition{Rule: "space", To: to, Why: "free_bytes < 20 GiB"},
		}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 1000 {
		handle(fmt.Sprint("other", i), rules.Critical)
	}
	return handle, func() {
		now = now.Add(8 * 24 * time.Hour)
		d.Tick(now)
	}
}

// BenchmarkTransitionThatTells opens and resolves, with deadlines and notices; what is
// resolved is closed in between.
func BenchmarkTransitionThatTells(b *testing.B) {
	handle, later := benchmarkDesk(b)
	hosts := make([]string, 512)
	for i := range hosts {
		hosts[i] = fmt.Sprint("h", i)
	}
	level := rules.Critical
	i := 0
	for b.Loop() {
		handle(hosts[i%len(hosts)], level)
		if i++; i%len(hosts) == 0 {
			if level = rules.Critical - level; level == rules.Critical {
				later()
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
}

// BenchmarkTransitionThatDoesNot is most of them: a warning, or a state of no incident.
func BenchmarkTransitionThatDoesNot(b *testing.B) {
	handle, _ := benchmarkDesk(b)
	i := 0
	for b.Loop() {
		handle("h1", rules.Level(i&1)) // OK, Warning
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
}
