// Package desk is one customer's service desk: it turns what rules, hosts and people
// say into incidents and problems, keeps their clocks, and says what is to be told.
//
// It is pure: it holds the open and the recently resolved in memory, gets the time
// and the numbers, and answers with what changed. The same events at the same times
// give the same answers, also when the desk was rebuilt from what it answered before.
// When an answer could not be stored, the desk has to be rebuilt.
package desk

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/sla"
)

// Config is how a desk works. What is zero has the default.
type Config struct {
	Level *sla.Level
	// ReopenWithin is how soon after its end a breach counts as the same incident
	// again, with its number and its clock. By default an hour: sooner, the cause was
	// hardly gone; later, it is a new interruption that problem management counts.
	ReopenWithin time.Duration
	// CloseAfter is how long a resolved incident can still be reopened by a person. By
	// default 7 days.
	CloseAfter time.Duration
	// ProblemReopenWithin is the same as ReopenWithin for problems. By default 7 days:
	// a forecast near its horizon comes and goes.
	ProblemReopenWithin time.Duration
	// NearPercent is the part of the time for a deadline after which it is told that
	// it is near. By default 75.
	NearPercent int
	// Team gets what nobody else is named for. By default "first line".
	Team string
	// Silence is what the silence of a server is worth. By default high impact and
	// urgency, and category "hardware".
	Silence Worth
}

// Worth is what priority and category of a ticket are made from.
type Worth struct{ Category, Impact, Urgency string }

func (c Config) withDefaults() Config {
	if c.Level == nil {
		c.Level = sla.Default()
	}
	c.ReopenWithin = cmp.Or(c.ReopenWithin, time.Hour)
	c.CloseAfter = cmp.Or(c.CloseAfter, 7*24*time.Hour)
	c.ProblemReopenWithin = cmp.Or(c.ProblemReopenWithin, 7*24*time.Hour)
	c.NearPercent = cmp.Or(c.NearPercent, 75)
	c.Team = cmp.Or(c.Team, "first line")
	c.Silence.Category = cmp.Or(c.Silence.Category, "hardware")
	c.Silence.Impact = cmp.Or(c.Silence.Impact, c.Level.Impacts()[0])
	c.Silence.Urgency = cmp.Or(c.Silence.Urgency, c.Level.Urgencies()[0])
	return c
}

// Numbers gives each incident and problem its number. Numbers only rise: a longer one
// is higher, and of equal length the one that sorts later.
type Numbers interface {
	NextIncident() string
	NextProblem() string
}

// Desk is one customer's desk. It is not safe for concurrent use.
type Desk struct {
	cfg      Config
	customer string
	tickets  map[string]*ticket
	problems map[string]*problem.Problem
	// newest holds the newest incident of each rule by check state, and newestProblem
	// the newest problem by key: what a transition is about.
	newest        map[Key]map[string]*ticket
	newestProblem map[Key]*problem.Problem
	timers        timers
}

// ticket is an incident that the desk holds, and when it next has to look at it.
type ticket struct {
	incident.Incident
	due time.Time
}

// New returns the empty desk of a customer.
func New(cfg Config, customer string) *Desk {
	return &Desk{
		cfg:           cfg.withDefaults(),
		customer:      customer,
		tickets:       make(map[string]*ticket),
		problems:      make(map[string]*problem.Problem),
		newest:        make(map[Key]map[string]*ticket),
		newestProblem: make(map[Key]*problem.Problem),
	}
}

// Restore takes up what was stored: all incidents that are not closed, and all
// problems. Closed incidents are left out.
func (d *Desk) Restore(incidents []incident.Incident, problems []problem.Problem) {
	for _, in := range incidents {
		if in.State == incident.Closed {
			continue
		}
		in.Timeline = slices.Clip(in.Timeline)
		t := &ticket{Incident: in}
		d.tickets[in.Number] = t
		d.index(t)
		d.schedule(t)
	}
	for _, p := range problems {
		d.problems[p.Number] = &p
		if old := d.newestProblem[problemKey(&p)]; old == nil || laterNumber(p.Number, old.Number) {
			d.newestProblem[problemKey(&p)] = &p
		}
		d.scheduleProblem(&p)
	}
}

// Handle deals with one event. After an error nothing has changed.
func (d *Desk) Handle(now time.Time, num Numbers, ev Event) (Effects, error) {
	t := d.turn(now, num)
	if err := ev.handle(t); err != nil {
		return Effects{}, err
	}
	return t.end(), nil
}

// Tick does what is due by time alone: deadlines that are near or missed, resolved
// incidents that close.
func (d *Desk) Tick(now time.Time) Effects {
	t := d.turn(now, nil)
	for {
		number, ok := d.nextDue(t.now)
		if !ok {
			return t.end()
		}
		if tk := d.tickets[number]; tk != nil {
			t.timer(tk)
		} else {
			d.forgetProblem(d.problems[number])
		}
	}
}

// Due is when Tick is next needed, or the zero time.
func (d *Desk) Due() time.Time { return d.nextTimer() }

// Reconcile ends what is open although its cause is gone: what a rule says now is
// asked of levels, which answers false for what is not observed at all. What only
// other events can end (a host's silence, forecasts) is asked too, and left alone
// when the answer is false.
func (d *Desk) Reconcile(now time.Time, levels func(Key) (rules.Level, bool)) Effects {
	t := d.turn(now, nil)
	for _, tk := range d.openTickets((*ticket).ruled) {
		level, known := levels(KeyOf(&tk.Incident))
		switch {
		case !known && tk.Rule != RuleSilent:
			t.endTicket(tk, incident.NotObserved, "its check state is not there any more")
		case known && isFine(level, tk.Opens):
			tk.Level = level
			t.endTicket(tk, incident.Fixed, "its rule says "+level.String())
		}
	}
	for _, p := range d.openProblems(func(*problem.Problem) bool { return true }) {
		level, known := levels(problemKey(p))
		switch {
		case !known && !p.Forecast:
			t.endProblem(p, incident.NotObserved, "its check state is not there any more")
		case known && isFine(level, p.Opens):
			p.Level = level
			t.endProblem(p, incident.Fixed, "its rule says "+level.String())
		}
	}
	return t.end()
}

// Incident returns an open or resolved incident.
func (d *Desk) Incident(number string) (incident.Incident, bool) {
	tk := d.tickets[number]
	if tk == nil {
		return incident.Incident{}, false
	}
	return tk.copy(), true
}

// Silent reports whether a server is known to be silent.
func (d *Desk) Silent(host string) bool {
	tk := d.find(Key{Host: host, Rule: RuleSilent})
	return tk != nil && tk.Level == rules.Critical
}

// ruled reports whether rules say when the ticket ends, and not people alone.
func (t *ticket) ruled() bool { return t.Rule != "" && !t.Held }

// copy returns the incident as it is now. Appending to its timeline does not reach
// into the desk's.
func (t *ticket) copy() incident.Incident {
	in := t.Incident
	in.Timeline = slices.Clip(in.Timeline)
	return in
}

func (d *Desk) find(k Key) *ticket { return d.newest[k.state()][k.Rule] }

// index makes a ticket the one that its rule's transitions are about, unless a newer
// one is.
func (d *Desk) index(t *ticket) {
	k := KeyOf(&t.Incident)
	if k == (Key{}) {
		return
	}
	rulesOf := d.newest[k.state()]
	if rulesOf == nil {
		rulesOf = make(map[string]*ticket, 1)
		d.newest[k.state()] = rulesOf
	}
	if old := rulesOf[k.Rule]; old == nil || laterNumber(t.Number, old.Number) {
		rulesOf[k.Rule] = t
	}
}

// forget drops what is closed.
func (d *Desk) forget(t *ticket) {
	delete(d.tickets, t.Number)
	k := KeyOf(&t.Incident)
	rulesOf := d.newest[k.state()]
	if rulesOf[k.Rule] != t {
		return
	}
	if delete(rulesOf, k.Rule); len(rulesOf) == 0 {
		delete(d.newest, k.state())
	}
}

func (d *Desk) forgetProblem(p *problem.Problem) {
	delete(d.problems, p.Number)
	if d.newestProblem[problemKey(p)] == p {
		delete(d.newestProblem, problemKey(p))
	}
}

// openTickets returns the open incidents that match, oldest number first.
func (d *Desk) openTickets(match func(*ticket) bool) []*ticket {
	var open []*ticket
	for _, t := range d.tickets {
		if t.State == incident.Open && match(t) {
			open = append(open, t)
		}
	}
	sortTickets(open)
	return open
}

// openAbout returns the open incidents about the check state of a key.
func (d *Desk) openAbout(k Key) []*ticket {
	var open []*ticket
	for _, t := range d.newest[k.state()] {
		if t.State == incident.Open {
			open = append(open, t)
		}
	}
	sortTickets(open)
	return open
}

func sortTickets(list []*ticket) {
	slices.SortFunc(list, func(a, b *ticket) int { return compareNumbers(a.Number, b.Number) })
}

func (d *Desk) openProblems(match func(*problem.Problem) bool) []*problem.Problem {
	var open []*problem.Problem
	for _, p := range d.problems {
		if p.State == problem.Open && match(p) {
			open = append(open, p)
		}
	}
	slices.SortFunc(open, func(a, b *problem.Problem) int { return compareNumbers(a.Number, b.Number) })
	return open
}

// compareNumbers orders INC-999999 before INC-1000000.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func laterNumber(a, b string) bool { return compareNumbers(a, b) > 0 }
