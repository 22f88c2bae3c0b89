package diskio

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// The second reading is 60 seconds after the first. The array's discards and
// flushes come from a later kernel.
const (
	firstReading = `   7       0 loop0 10 0 20 1 0 0 0 0 0 1 1
   8       0 sda 1000 10 80000 5000 2000 20 160000 8000 0 9000 13000 0 0 0 0 0 0
   8       1 sda1 900 10 70000 4000 1900 20 150000 7000 0 8000 11000
 253       0 dm-0 900 0 70000 4000 1900 0 150000 7000 0 8000 11000
 259       0 nvme0n1 500 0 4000 100 0 0 0 0 0 100 100
  11       0 sr0 1 0 1 1 0 0 0 0 0 1 1
 104       0 cciss/c0d0 1 0 8 1 0 0 0 0 0 1 1
`
	secondReading = `   8       0 sda 1300 10 84800 11000 2000 20 160000 8000 0 39000 73000 0 0 0 0 0 0
 259       0 nvme0n1 500 0 4000 100 0 0 0 0 0 100 100
 104       0 cciss/c0d0 1 0 8 1 0 0 0 0 0 1 1
`
)

func fixture(t *testing.T) (root string, ctx context.Context) {
	t.Helper()
	root = t.TempDir()
	for _, device := range []string{"sda", "nvme0n1", "sr0", "cciss!c0d0"} {
		if err := os.MkdirAll(filepath.Join(root, "sys", "block", device, "device"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, made := range []string{"proc", "sys/block/dm-0", "sys/block/loop0"} {
		if err := os.MkdirAll(filepath.Join(root, made), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return root, hostfs.WithRoot(t.Context(), root)
}

func diskstats(t *testing.T, root, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "proc", "diskstats"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, ctx := fixture(t)
		diskstats(t, root, firstReading)
		first, err := New().Run(ctx, &checks.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := items(first); !slices.Equal(got, []string{"cciss/c0d0", "nvme0n1", "sda"}) {
			t.Fatalf("the drives are %q", got)
		}
		if got := figures(first.Results[2]); len(got) != 4 || got["read_bytes_total"] != 80000*512 {
			t.Errorf("the first run has %v", got)
		}

		time.Sleep(time.Minute)
		diskstats(t, root, secondReading)
		second, err := New().Run(ctx, &checks.Env{Last: first.Sample})
		if err != nil {
			t.Fatal(err)
		}
		got := figures(second.Results[2])
		for name, want := range map[string]float64{
			"read_await_seconds": 0.02, "utilisation_ratio": 0.5, "queue": 1,
			"read_bytes_total": 84800 * 512, "reads_total": 1300, "writes_total": 2000, "written_bytes_total": 160000 * 512,
		} {
			if got[name] != want {
				t.Errorf("%s is %g, not %g", name, got[name], want)
			}
		}
		if v, there := got["write_await_seconds"]; there {
			t.Errorf("a write took %g s, but there was none", v)
		}
		if want := "40 KiB/s read, 0 B/s written, 50 % busy, 20 ms a read"; second.Results[2].Summary != want {
			t.Errorf("the summary is %q, not %q", second.Results[2].Summary, want)
		}
		if got := figures(second.Results[1]); got["utilisation_ratio"] != 0 || got["queue"] != 0 {
			t.Errorf("the idle drive has %v", got)
		}
	})
}

func items(run checks.Run) []string {
	var out []string
	for _, r := range run.Results {
		out = append(out, r.Item)
	}
	return out
}

func figures(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func TestCompare(t *testing.T) {
	base := counters{reads: 100, writes: 100, readBytes: 1000, writtenBytes: 1000, timed: true, readTime: math.MaxUint32 - 999, busyTime: math.MaxUint32}
	wrapped := base
	wrapped.reads, wrapped.readTime, wrapped.busyTime = 110, 1000, 29_999
	r := compare(base, wrapped, time.Minute)
	if !r.known || r.readAwait != 0.2 || r.utilisation != 0.5 {
		t.Errorf("times that wrapped give %+v", r)
	}
	fell := base
	fell.reads = 5
	if r := compare(base, fell, time.Minute); r.known || r.timed {
		t.Errorf("another drive of the same name gives %+v", r)
	}
	if r := compare(base, wrapped, 0); r.known {
		t.Errorf("no time gives %+v", r)
	}
	busier := base
	busier.busyTime = 61_000 - 1
	if r := compare(base, busier, time.Minute); r.utilisation != 1 {
		t.Errorf("the clocks differ a little, but a drive is at most wholly busy, not %g", r.utilisation)
	}
}

func TestDamaged(t *testing.T) {
	root, ctx := fixture(t)
	if _, err := New().Run(ctx, &checks.Env{}); err == nil {
		t.Error("a run without counters must fail")
	}
	diskstats(t, root, "8 0 sda 1 2 3 4 five 6 7 8 9 10 11\n")
	if _, err := New().Run(ctx, &checks.Env{}); err == nil || !strings.Contains(err.Error(), "sda") {
		t.Errorf("the error must name the drive, but is: %v", err)
	}
	diskstats(t, root, "8 0 sda 1 2 3\n\n8 1 sdb\n")
	if found, err := New().Discover(ctx, &checks.Env{}); err != nil || len(found) != 0 {
		t.Errorf("discovered %v, %v", found, err)
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
