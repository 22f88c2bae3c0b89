package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks"
)

// machine is a check of the given mounts with a given way to answer.
func machine(ask func(mount) (usage, error), points ...string) check {
	c, _ := New().(check)
	c.ask = ask
	c.mounts = func(context.Context) ([]mount, error) {
		var all []mount
		for i, point := range points {
			all = append(all, mount{id: fmt.Sprint(i), point: point, device: fmt.Sprint(i), kind: "ext4"})
		}
		return all, nil
	}
	return c
}

func half(mount) (usage, error) {
	return usage{size: 50 << 30, free: 12<<30 + 300<<20, inodes: 100, inodesFree: 50}, nil
}

func runOnce(t *testing.T, c check, last any) (checks.Run, map[string]checks.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), c.spec.Timeout.D())
	defer cancel()
	run, err := c.Run(ctx, &checks.Env{Last: last})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.spec.Validate(&run); err != nil {
		t.Fatal(err)
	}
	byItem := make(map[string]checks.Result)
	for _, r := range run.Results {
		byItem[r.Item] = r
	}
	return run, byItem
}

func figure(t *testing.T, r checks.Result, name string) float64 {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("item %q has no %s", r.Item, name)
	return 0
}

func TestResult(t *testing.T) {
	_, got := runOnce(t, machine(half, "/"), nil)
	if want := "12.3 GiB of 50 GiB free (25 %)"; got["/"].Summary != want {
		t.Errorf("the summary is %q, not %q", got["/"].Summary, want)
	}
	if figure(t, got["/"], "inodes_free_ratio") != 0.5 || figure(t, got["/"], "size_bytes") != 50<<30 {
		t.Errorf("the figures are %v", got["/"].Metrics)
	}
}

func TestNoInodes(t *testing.T) {
	c := machine(func(mount) (usage, error) { return usage{size: 100, free: 0}, nil }, "/")
	_, got := runOnce(t, c, nil)
	for _, m := range got["/"].Metrics {
		if m.Name == "inodes_free_ratio" {
			t.Errorf("a filesystem without a number of inodes has %v", m)
		}
	}
}

func TestAnswers(t *testing.T) {
	errs := map[string]error{
		"/dead": unix.EIO, "/stale": unix.ESTALE, "/secret": unix.EACCES, "/hidden": unix.ENOENT, "/fine": nil,
	}
	c := machine(func(m mount) (usage, error) {
		u, _ := half(m)
		return u, errs[m.point]
	}, "/dead", "/stale", "/secret", "/hidden", "/fine")
	run, got := runOnce(t, c, nil)
	want := map[string]checks.Status{"/dead": checks.Critical, "/stale": checks.Critical, "/secret": checks.Unknown, "/fine": checks.OK}
	if len(got) != len(want) || !run.Complete {
		t.Errorf("complete %t, with %v", run.Complete, got)
	}
	for item, status := range want {
		if got[item].Status != status {
			t.Errorf("%s is %s: %s", item, got[item].Status, got[item].Summary)
		}
	}
}

func TestMountTableUnreadable(t *testing.T) {
	c := machine(half)
	c.mounts = func(context.Context) ([]mount, error) { return nil, errors.New("no such table") }
	if _, err := c.Run(t.Context(), &checks.Env{}); err == nil || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("the run must fail, lest all filesystems seem to have vanished, but gave: %v", err)
	}
}

// A filesystem that hangs is unknown, is asked once only however many runs there
// are, delays no other and, when it answers again, is back.
func TestHungFilesystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		c := machine(func(m mount) (usage, error) {
			if m.point == "/nas" {
				asked.Add(1)
				<-release
			}
			return half(m)
		}, "/", "/nas", "/var")

		var last any
		for n := range 5 {
			began := time.Now()
			run, got := runOnce(t, c, last)
			last = run.Sample
			if !run.Complete || got["/nas"].Status != checks.Unknown || got["/"].Status != checks.OK || got["/var"].Status != checks.OK {
				t.Errorf("run %d: complete %t, %v", n+1, run.Complete, got)
			}
			if !strings.Contains(got["/nas"].Summary, "has not answered for") {
				t.Errorf("the summary is %q", got["/nas"].Summary)
			}
			// Fake time: only the first run waits, for half of what it has.
			if took := time.Since(began); n == 0 && took != c.spec.Timeout.D()/2 || n > 0 && took != 0 {
				t.Errorf("run %d took %s", n+1, took)
			}
			time.Sleep(time.Minute)
		}
		if asked.Load() != 1 {
			t.Errorf("it was asked %d times", asked.Load())
		}

		close(release)
		synctest.Wait()
		run, got := runOnce(t, c, last)
		if got["/nas"].Status != checks.OK {
			t.Errorf("after its answer it is %s: %s", got["/nas"].Status, got["/nas"].Summary)
		}
		if open, _ := run.Sample.(questions); len(open) != 0 {
			t.Errorf("%d questions are still open", len(open))
		}
		_, _ = runOnce(t, c, run.Sample)
		if asked.Load() != 2 {
			t.Errorf("it was asked %d times", asked.Load())
		}
	})
}

// A hung filesystem that was unmounted by force has vanished, and one that takes
// its place is asked afresh.
func TestHungAndUnmounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(m mount) (usage, error) {
			if m.point == "/nas" {
				<-release
			}
			return half(m)
		}
		first, _ := runOnce(t, machine(hang, "/", "/nas"), nil)
		second, got := runOnce(t, machine(hang, "/"), first.Sample)
		if _, there := got["/nas"]; there || !second.Complete {
			t.Errorf("complete %t, %v", second.Complete, got)
		}
		// It is now the third of the table: another mount at the same point.
		_, got = runOnce(t, machine(half, "/", "/a", "/nas"), second.Sample)
		if got["/nas"].Status != checks.OK {
			t.Errorf("the new one is %s: %s", got["/nas"].Status, got["/nas"].Summary)
		}
		close(release)
	})
}

func TestCancelledWhileHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		c := machine(func(mount) (usage, error) {
			cancel()
			<-release
			return usage{}, nil
		}, "/")
		run, err := c.Run(ctx, &checks.Env{})
		if err != nil || run.Results[0].Status != checks.Unknown {
			t.Errorf("got %v, %v", run.Results, err)
		}
	})
}

func TestExclude(t *testing.T) {
	c := machine(half, "/", "/var", "/var/log")
	run, err := c.Run(t.Context(), &checks.Env{Params: checks.Params{"exclude": {"/var"}}})
	if err != nil || len(run.Results) != 2 || run.Results[1].Item != "/var/log" {
		t.Errorf("got %v, %v", run.Results, err)
	}
}

func TestTooManyMounts(t *testing.T) {
	points := make([]string, checks.MaxResults+1)
	for i := range points {
		points[i] = fmt.Sprintf("/m%d", i)
	}
	if run, _ := runOnce(t, machine(half, points...), nil); run.Complete || len(run.Results) != checks.MaxResults {
		t.Errorf("complete %t, with %d results", run.Complete, len(run.Results))
	}
}

func TestItemName(t *testing.T) {
	long := "/" + strings.Repeat("é", 200)
	for point, want := range map[string]string{
		"/":           "/",
		"/my disk/é":  "/my disk/é",
		"/a\nb\xff":   `/a\nb\xff`,
		`C:\`:         `C:\`,
		"/back\\sl":   "/back\\sl",
		"/tab\there":  `/tab\there`,
		"/del\x7fete": `/del\x7fete`,
	} {
		if got := itemName(point); got != want {
			t.Errorf("%q is named %q, not %q", point, got, want)
		}
	}
	one, other := itemName(long), itemName(long+"x")
	if len(one) > checks.MaxItemBytes || one == other {
		t.Errorf("long paths are named %q and %q", one, other)
	}
}

func BenchmarkRun(b *testing.B) {
	c := New()
	var last any
	b.ReportAllocs()
	for b.Loop() {
		run, err := c.Run(b.Context(), &checks.Env{Last: last})
		if err != nil {
			b.Fatal(err)
		}
		last = run.Sample
	}
}
