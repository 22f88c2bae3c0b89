// Package schedule runs each task once per tick, spread over its interval, and
// keeps tasks from harming each other: a run that hangs is abandoned and reported,
// one that panics is contained, one that breaks its declaration becomes an unknown
// result that says so.
//
// Ticks are planned in a frame: the wall clock as it was when the frame was
// anchored, plus the time that has passed since by the monotonic clock. A clock
// that is set neither stalls the watch nor makes it run all at once; the frame is
// anchored anew and the owner is told.
package schedule

import (
	"context"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
)

const (
	soon       = 10 * time.Second // a new task's first run is within this
	grace      = 5 * time.Second  // between a run's timeout and its being given up
	clockStep  = 2 * time.Second  // a clock that is off by more was set
	longestNap = time.Minute      // so that a set clock is noticed in time
)

// Options configure a scheduler.
type Options struct {
	// Host seeds the spread: the same host keeps its ticks.
	Host string
	// Sink takes finished runs. It is called from several goroutines.
	Sink func(*checkpb.Run)
	// Sandbox and Secrets are given to every run.
	Sandbox checks.Sandbox
	Secrets checks.Secrets
	// Evidence says whether results keep their evidence.
	Evidence bool
	// ClockSet is called after the wall clock was found to have been set and before
	// any run that is planned by the new one. It may be nil.
	ClockSet func()
	// Wall is the wall clock; nil is the system's.
	Wall   func() time.Time
	Logger *slog.Logger
}

// Scheduler runs tasks. Its methods are safe for concurrent use.
type Scheduler struct {
	opts Options
	poke chan struct{}

	mu      sync.Mutex
	frame   frame
	tasks   map[string]*task
	running map[string]*running // by the task's name, the abandoned ones too
	out     []*checkpb.Run      // for the sink, once mu is free
	wg      sync.WaitGroup
}

// frame maps the monotonic clock to the time that ticks are planned in.
type frame struct{ mono, wall time.Time }

func (f frame) at(mono time.Time) time.Time        { return f.wall.Add(mono.Sub(f.mono)) }
func (f frame) monotonic(wall time.Time) time.Time { return f.mono.Add(wall.Sub(f.wall)) }

type task struct {
	config.Task
	hash    uint64
	due     time.Time // monotonic
	planned time.Time // the tick, in the frame
	ran     bool
	sample  any
	last    LastRun
}

// LastRun is how the newest run of a task went.
type LastRun struct {
	Planned  time.Time
	Duration time.Duration
	Results  int
	Status   checks.Status // the worst
	Summary  string        // of the worst
}

type running struct {
	task    *task
	planned time.Time
	started time.Time // monotonic
	cancel  context.CancelFunc
	timer   *time.Timer
	hung    bool
}

// TaskStatus is what Status tells of a task.
type TaskStatus struct {
	Name      string
	Interval  time.Duration
	Next      time.Time // the tick of the next run
	Last      LastRun
	Running   bool
	HungSince time.Time // zero when it is not
}

// New returns a scheduler without tasks.
func New(opts Options) *Scheduler {
	if opts.Wall == nil {
		opts.Wall = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Scheduler{opts: opts, poke: make(chan struct{}, 1), tasks: map[string]*task{}, running: map[string]*running{}}
	s.frame = s.anchor()
	return s
}

// anchor takes the wall clock to the millisecond, which is what runs carry.
func (s *Scheduler) anchor() frame {
	return frame{time.Now(), s.opts.Wall().Round(0).Truncate(time.Millisecond)}
}

// Now is the time in the frame that ticks are planned in.
func (s *Scheduler) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frame.at(time.Now())
}

// Apply makes these the tasks. A task that is the same goes on; one that is new or
// changed runs soon; of one that is gone a complete run without results says that
// its items have vanished.
func (s *Scheduler) Apply(tasks []config.Task) {
	s.mu.Lock()
	now := time.Now()
	next := make(map[string]*task, len(tasks))
	for i := range tasks {
		t := &task{Task: tasks[i]}
		name := t.Name()
		if old := s.tasks[name]; old != nil && same(&old.Task, &t.Task) {
			next[name] = old
			continue
		}
		s.plan(t, now)
		next[name] = t
	}
	var gone []*task
	for name, old := range s.tasks {
		if next[name] == nil {
			gone = append(gone, old)
			if r := s.running[name]; r != nil {
				r.cancel()
			}
		}
	}
	s.tasks = next
	s.mu.Unlock()
	for _, t := range gone {
		s.Retire(t.Check.Spec().Name, t.Instance)
	}
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// unlock frees mu and hands on what was reported meanwhile: the sink may wait for
// a disk.
func (s *Scheduler) unlock() {
	out := s.out
	s.out = nil
	s.mu.Unlock()
	for _, run := range out {
		s.opts.Sink(run)
	}
}

func same(a, b *config.Task) bool {
	return a.Check.Spec() == b.Check.Spec() && a.Interval == b.Interval && a.Timeout == b.Timeout &&
		maps.EqualFunc(a.Params, b.Params, slices.Equal[[]string])
}

// Retire says of a task that runs no longer that its items have vanished.
func (s *Scheduler) Retire(check, instance string) {
	s.opts.Sink(checkpb.ToProto(check, instance, s.Now(), 0, checks.Run{Complete: true}))
}

// plan gives a new task its place: the first run soon, the others on a grid that
// depends on host and task alone.
func (s *Scheduler) plan(t *task, now time.Time) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.opts.Host + "\x00" + t.Name()))
	t.hash = h.Sum64()
	t.due = now.Add(t.part(min(t.Interval, soon)))
	t.planned = s.frame.at(t.due)
}

// part is the task's own part of a span, to the millisecond.
func (t *task) part(span time.Duration) time.Duration {
	return time.Duration(t.hash%uint64(max(1, span/time.Millisecond))) * time.Millisecond
}

// advance plans the tick after now. The one right after a first run is left out
// when it is very near: rates over a moment are noise.
func (s *Scheduler) advance(t *task, now time.Time) {
	step, offset := t.Interval.Milliseconds(), t.part(t.Interval).Milliseconds()
	from := max(s.frame.at(now).UnixMilli(), t.planned.UnixMilli())
	tick := floor(from-offset, step)*step + offset + step
	if !t.ran && tick-t.planned.UnixMilli() < step/4 {
		tick += step
	}
	t.ran = true
	t.planned = time.UnixMilli(tick)
	t.due = s.frame.monotonic(t.planned)
}

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Run schedules until ctx ends, and then waits for the runs under way, but not for
// those that were abandoned.
func (s *Scheduler) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(s.tick(ctx))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.poke:
		}
	}
	s.stop()
}

// stop cancels all runs and waits for them, at most for the grace.
func (s *Scheduler) stop() {
	s.mu.Lock()
	for _, r := range s.running {
		r.timer.Stop()
		r.cancel()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
		s.opts.Logger.Warn("a check does not end: it is left behind")
	}
}

// tick starts what is due and returns how long to sleep.
func (s *Scheduler) tick(ctx context.Context) time.Duration {
	s.watchClock()
	s.mu.Lock()
	defer s.unlock()
	now := time.Now()
	nap := longestNap
	for _, name := range slices.Sorted(maps.Keys(s.tasks)) {
		t := s.tasks[name]
		if !t.due.After(now) {
			s.begin(ctx, t, name)
			s.advance(t, now)
		}
		nap = min(nap, t.due.Sub(now))
	}
	return nap
}

// watchClock anchors the frame anew when the wall clock was set, or the machine
// slept, and plans all tasks by the new one.
func (s *Scheduler) watchClock() {
	s.mu.Lock()
	now := time.Now()
	off := s.opts.Wall().Sub(s.frame.at(now))
	s.mu.Unlock()
	if off.Abs() <= clockStep {
		return
	}
	s.opts.Logger.Info("the clock was set, or the machine slept: the checks are planned anew", "by", off.Round(time.Second))
	if s.opts.ClockSet != nil {
		s.opts.ClockSet()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.frame
	s.frame = s.anchor()
	for _, t := range s.tasks {
		t.planned = s.frame.at(was.monotonic(t.planned))
		if t.ran {
			t.planned = s.frame.at(now)
			s.advance(t, now)
		} else {
			t.due = s.frame.monotonic(t.planned)
		}
	}
	for _, r := range s.running {
		r.planned = s.frame.at(was.monotonic(r.planned))
	}
}

// Status tells how each task fares, by name.
func (s *Scheduler) Status() []TaskStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]TaskStatus, 0, len(s.tasks))
	for name, t := range s.tasks {
		st := TaskStatus{Name: name, Interval: t.Interval, Next: t.planned, Last: t.last}
		if r := s.running[name]; r != nil {
			st.Running = true
			if r.hung {
				st.HungSince = s.frame.at(r.started)
			}
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b TaskStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
