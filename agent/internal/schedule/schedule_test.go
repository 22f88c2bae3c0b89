package schedule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
)

type fake struct {
	spec *checks.Spec
	run  func(context.Context, *checks.Env) (checks.Run, error)
}

func (f fake) Spec() *checks.Spec { return f.spec }

func (fake) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

func (f fake) Run(ctx context.Context, env *checks.Env) (checks.Run, error) { return f.run(ctx, env) }

func ok(context.Context, *checks.Env) (checks.Run, error) {
	return checks.Run{Complete: true, Results: []checks.Result{{Summary: "fine", Evidence: "e"}}}, nil
}

func newTask(name string, interval, timeout time.Duration, run func(context.Context, *checks.Env) (checks.Run, error)) config.Task {
	spec := &checks.Spec{Name: name, Metrics: []checks.MetricSpec{{Name: "x", Type: "gauge"}}}
	return config.Task{Check: fake{spec, run}, Interval: interval, Timeout: timeout}
}

// bench is a scheduler in a bubble of fake time, with what it reported.
type bench struct {
	*Scheduler
	mu     sync.Mutex
	runs   []*checkpb.Run
	offset time.Duration // of the wall clock
	set    int
}

func (b *bench) sink(r *checkpb.Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = append(b.runs, r)
}

func (b *bench) wall() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.offset)
}

func (b *bench) setClock(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset += by
}

// take returns what was reported since the last call.
func (b *bench) take() []*checkpb.Run {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.runs
	b.runs = nil
	return out
}

func start(t *testing.T, tasks ...config.Task) *bench {
	b := &bench{}
	b.Scheduler = New(Options{Host: "h1", Sink: b.sink, Wall: b.wall, ClockSet: func() { b.set++ }})
	b.Apply(tasks)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		b.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

func TestTicksAreRegular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, newTask("cpu", time.Minute, 10*time.Second, ok), newTask("disk", time.Minute, 10*time.Second, ok))
		time.Sleep(soon)
		if first := b.take(); len(first) != 2 {
			t.Fatalf("%d runs within the first %v", len(first), soon)
		}
		time.Sleep(24 * time.Hour)
		ticks := map[string][]int64{}
		for _, r := range b.take() {
			ticks[r.GetCheck()] = append(ticks[r.GetCheck()], r.GetPlannedMs())
			if r.GetNextWithinMs() != 130_000 || !r.GetComplete() || r.GetResults()[0].GetEvidence() != "" {
				t.Fatalf("run %v", r)
			}
		}
		for check, at := range ticks {
			if len(at) < 1439 || len(at) > 1441 {
				t.Errorf("%s ran %d times in a day", check, len(at))
			}
			for i := 1; i < len(at); i++ {
				if at[i]-at[i-1] != 60_000 {
					t.Fatalf("%s: ticks %d ms apart", check, at[i]-at[i-1])
				}
			}
		}
		if ticks["cpu"][0]%60_000 == ticks["disk"][0]%60_000 {
			t.Error("two tasks have the same place in the interval")
		}
	})
}

func TestSpreadIsTheSameForTheSameHost(t *testing.T) {
	place := func(host string) time.Duration {
		s := New(Options{Host: host})
		task := &task{Task: newTask("cpu", time.Minute, time.Second, ok)}
		s.plan(task, time.Now())
		return task.part(time.Minute)
	}
	if first, again := place("a"), place("a"); first != again {
		t.Error("one host has two places")
	}
	used := map[time.Duration]int{}
	for i := range 600 {
		used[place(fmt.Sprint("host", i)).Truncate(10*time.Second)]++
	}
	for slot, n := range used {
		if n < 50 || n > 150 {
			t.Errorf("%d of 600 hosts run in the 10 s from %v", n, slot)
		}
	}
}

func TestHungCheckIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var runs int
		b := start(t, newTask("smart", time.Minute, 10*time.Second, func(context.Context, *checks.Env) (checks.Run, error) {
			runs++
			<-release
			return checks.Run{}, nil
		}), newTask("cpu", time.Minute, 10*time.Second, ok))
		time.Sleep(5 * time.Minute)
		hung := 0
		for _, r := range b.take() {
			if r.GetCheck() == "cpu" {
				continue
			}
			hung++
			if res := r.GetResults()[0]; res.GetStatus() != checkpb.Status_UNKNOWN || !strings.HasPrefix(res.GetSummary(), "hung since 2000-01-01T00:00:0") {
				t.Errorf("reported %v", r)
			}
		}
		if hung < 4 || runs != 1 {
			t.Errorf("%d reports of a hung check, %d runs", hung, runs)
		}
		if st := b.Status(); st[1].Name != "smart" || st[1].HungSince.IsZero() || st[0].HungSince != (time.Time{}) {
			t.Errorf("status %+v", st)
		}
		close(release)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if runs < 2 {
			t.Error("after it ended, the check did not run again")
		}
	})
}

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, runs int
		b := start(t, newTask("slow", 10*time.Second, time.Minute, func(ctx context.Context, _ *checks.Env) (checks.Run, error) {
			now++
			runs++
			most = max(most, now)
			time.Sleep(25 * time.Second)
			now--
			return checks.Run{}, ctx.Err()
		}))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if most != 1 || runs < 19 {
			t.Errorf("%d at a time, %d runs", most, runs)
		}
		for _, r := range b.take() {
			if len(r.GetResults()) != 0 {
				t.Errorf("a slow run gave %v", r)
			}
		}
	})
}

func TestWhatBecomesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := map[string]func(context.Context, *checks.Env) (checks.Run, error){
			"the check broke: ouch": func(context.Context, *checks.Env) (checks.Run, error) { panic("ouch") },
			"reading /proc: no": func(context.Context, *checks.Env) (checks.Run, error) {
				return checks.Run{}, errors.New("reading /proc: no")
			},
			"no result within the timeout: ": func(ctx context.Context, _ *checks.Env) (checks.Run, error) {
				<-ctx.Done()
				return checks.Run{}, ctx.Err()
			},
			`metric "y" is not declared`:           metricRun("y", 1),
			`breaks its declaration: odd "/": met`: metricRun("x", math.NaN()),
			"x x x x": func(context.Context, *checks.Env) (checks.Run, error) {
				return checks.Run{}, errors.New(strings.Repeat("x ", 4000) + "\xff")
			},
		}
		for want, run := range bad {
			b := start(t, newTask("odd", time.Minute, 5*time.Second, run))
			time.Sleep(20 * time.Second)
			runs := b.take()
			if len(runs) == 0 {
				t.Fatalf("%s: no run", want)
			}
			res := runs[0].GetResults()
			if len(res) != 1 || res[0].GetStatus() != checkpb.Status_UNKNOWN || !strings.Contains(res[0].GetSummary(), want) || len(res[0].GetSummary()) > checks.MaxSummaryBytes {
				t.Errorf("%s: %v", want, res)
			}
		}
	})
}

func metricRun(name string, value float64) func(context.Context, *checks.Env) (checks.Run, error) {
	return func(context.Context, *checks.Env) (checks.Run, error) {
		return checks.Run{Results: []checks.Result{{Item: "/", Metrics: []checks.Metric{{Name: name, Value: value}}}}}, nil
	}
}

func TestItemsOfAnInstance(t *testing.T) {
	run := checks.Run{Results: []checks.Result{{}, {Item: "/var\n\xff"}}}
	got := Once(t.Context(), fake{&checks.Spec{Name: "x"}, func(context.Context, *checks.Env) (checks.Run, error) { return run, nil }}, "shop", nil)
	if got.Results[0].Item != "shop" || got.Results[1].Item != "shop /var??" {
		t.Errorf("items %+v", got.Results)
	}
}

func TestSampleIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []any
		start(t, newTask("cpu", time.Minute, time.Second, func(_ context.Context, env *checks.Env) (checks.Run, error) {
			seen = append(seen, env.Last)
			if len(seen) == 2 {
				return checks.Run{}, errors.New("once")
			}
			return checks.Run{Sample: len(seen)}, nil
		}))
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if !slices.Equal(seen[:4], []any{nil, 1, 1, 3}) {
			t.Errorf("samples %v", seen)
		}
	})
}

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep, change, drop := newTask("keep", time.Minute, time.Second, ok), newTask("change", time.Minute, time.Second, ok), newTask("drop", time.Minute, time.Second, ok)
		b := start(t, keep, change, drop)
		time.Sleep(3 * time.Minute)
		b.take()
		next := b.Status()[2].Next
		change.Interval = 10 * time.Second
		b.Apply([]config.Task{keep, change})
		if got := b.Status()[1].Next; !got.Equal(next) {
			t.Errorf("a task that stayed was planned anew: %v, was %v", got, next)
		}
		gone := b.take()
		if len(gone) != 1 || gone[0].GetCheck() != "drop" || !gone[0].GetComplete() || len(gone[0].GetResults()) != 0 {
			t.Errorf("of a dropped task came %v", gone)
		}
		time.Sleep(time.Minute)
		count := map[string]int{}
		for _, r := range b.take() {
			count[r.GetCheck()]++
		}
		if count["drop"] != 0 || count["change"] < 5 || count["keep"] != 1 {
			t.Errorf("runs in a minute: %v", count)
		}
	})
}

// A clock that is set, either way and by any amount, neither stalls nor storms.
func TestClockIsSet(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, by := range []time.Duration{time.Hour, -time.Hour, 10 * year, -10 * year, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, newTask("cpu", time.Minute, time.Second, ok), newTask("rare", 24*time.Hour, time.Second, ok))
			time.Sleep(10 * time.Minute)
			b.take()
			b.setClock(by)
			time.Sleep(10 * time.Minute)
			runs := b.take()
			if len(runs) < 9 || len(runs) > 12 || b.set != 1 {
				t.Errorf("by %v: %d runs in ten minutes, %d epochs", by, len(runs), b.set)
			}
			for _, r := range runs[2:] {
				if off := b.wall().Sub(time.UnixMilli(r.GetPlannedMs())); off < -time.Second || off > 11*time.Minute {
					t.Errorf("by %v: a tick is %v behind the clock", by, off)
				}
			}
		})
	}
}
