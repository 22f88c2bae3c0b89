package fleet

import (
	"fmt"
	"strconv"
	"time"

	"github.com/wacht-io/wacht/checks/checkpb"
)

// Load describes what simulated hosts report: runs of the check disk, each an
// instance with its own items, at planned ticks on an exact grid. What a run holds
// follows from the Load, the agent and the run's number alone.
type Load struct {
	// States is how many check states a host has, Results how many of them a run and
	// so a message holds. States must be a multiple of Results.
	States, Results int
	// Metrics is how many of the check's metrics a result has, 1 to 5. The rules for
	// free space need two.
	Metrics int
	// Every is how many results of a state one breach falls on; the next result of
	// the state recovers. So 200 makes one of a hundred results a transition. 0 is never.
	Every int
	// Start is the tick of the first runs, Interval the time from a state's tick to its
	// next.
	Start    time.Time
	Interval time.Duration
}

// Validate says what is wrong with a load.
func (l *Load) Validate() error {
	switch {
	case l.Results <= 0 || l.States < l.Results || l.States%l.Results != 0:
		return fmt.Errorf("%d states a host can't be reported %d a run", l.States, l.Results)
	case l.Metrics < 1 || l.Metrics > len(metricNames()):
		return fmt.Errorf("a result has 1 to %d metrics, not %d", len(metricNames()), l.Metrics)
	case l.Interval < time.Millisecond || l.Start.IsZero():
		return fmt.Errorf("a load needs a start, and an interval of a millisecond or more")
	}
	return nil
}

func metricNames() []string {
	return []string{"size_bytes", "free_bytes", "free_ratio", "inodes_free_ratio", "readonly"}
}

// Tasks is how many runs report all states of a host once.
func (l *Load) Tasks() int { return l.States / l.Results }

const gib = 1 << 30

// breaches says whether a state's result of a round is critical. Hosts and states
// take turns, so that breaches are spread evenly over time.
func (l *Load) breaches(agent, state, round int) bool {
	return l.Every > 0 && (agent*7+state*3+round)%l.Every == l.Every-1
}

// Breaches says whether the default rules find a result of a Load critical.
func Breaches(r *checkpb.Result) bool {
	for _, m := range r.GetMetrics() {
		if m.GetName() == "free_bytes" {
			return m.GetValue() < 5*gib
		}
	}
	return false
}

// Run makes the nth run of an agent, counted from 0.
func (l *Load) Run(agent, n int) *checkpb.Run {
	run := l.template(n % l.Tasks())
	l.fill(run, agent, n)
	return run
}

// template makes a run of a task with all that stays the same.
func (l *Load) template(task int) *checkpb.Run {
	run := &checkpb.Run{
		Check: "disk", Instance: "set" + strconv.Itoa(task), Complete: true, NextWithinMs: 10 * 60_000,
		Results: make([]*checkpb.Result, l.Results),
	}
	for i := range run.Results {
		r := &checkpb.Result{Item: "/data" + strconv.Itoa(task*l.Results+i), Metrics: make([]*checkpb.Metric, l.Metrics)}
		for m := range r.Metrics {
			r.Metrics[m] = &checkpb.Metric{Name: metricNames()[m]}
		}
		run.Results[i] = r
	}
	return run
}

// fill sets what a round changes in a run of a task. Free space differs in each
// round by a page, so that a value tells which run it came from; the summary changes
// once in twenty, as that of a disk in use may.
func (l *Load) fill(run *checkpb.Run, agent, n int) {
	task, round := n%l.Tasks(), n/l.Tasks()
	run.PlannedMs = l.Start.Add(time.Duration(round) * l.Interval).UnixMilli()
	for i, r := range run.Results {
		size, free, summary := 100.0*gib, 50.0*gib, summaries[round/20%len(summaries)]
		if l.breaches(agent, task*l.Results+i, round) {
			free, summary = gib, "1 GiB of 100 GiB is free"
		}
		free += float64(4096 * (round % 200_000))
		r.Summary = summary
		values := [...]float64{size, free, free / size, 0.9, 0}
		for m := range r.Metrics {
			r.Metrics[m].Value = values[m]
		}
	}
}

var summaries = [...]string{
	"50.1 GiB of 100 GiB are free", "50.2 GiB of 100 GiB are free", "50.3 GiB of 100 GiB are free", "50.4 GiB of 100 GiB are free",
}

// source makes an agent's runs one after the other, into the same memory: a spool
// keeps no part of the run that it is given.
type source struct {
	load  *Load
	agent int
	next  int
	tasks []*checkpb.Run
}

func newSource(l *Load, agent, next int) *source {
	s := &source{load: l, agent: agent, next: next}
	for task := range l.Tasks() {
		s.tasks = append(s.tasks, l.template(task))
	}
	return s
}

func (s *source) run() *checkpb.Run {
	run := s.tasks[s.next%len(s.tasks)]
	s.load.fill(run, s.agent, s.next)
	s.next++
	return run
}
