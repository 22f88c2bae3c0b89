package memory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
	"github.com/wacht-io/wacht/checks/memory"
	"github.com/wacht-io/wacht/checks/sandbox"
)

const meminfo = `MemTotal:        8000000 kB
MemFree:          200000 kB
MemAvailable:    1000000 kB
Buffers:          100000 kB
Cached:           900000 kB
SwapCached:            0 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
`

func write(t *testing.T, root string, files map[string]string) context.Context {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hostfs.WithRoot(t.Context(), root)
}

func figures(t *testing.T, ctx context.Context) (map[string]float64, string) {
	t.Helper()
	c := memory.New()
	run, err := c.Run(ctx, &checks.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&run); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, m := range run.Results[0].Metrics {
		out[m.Name] = m.Value
	}
	return out, run.Results[0].Summary
}

func TestFigures(t *testing.T) {
	ctx := write(t, t.TempDir(), map[string]string{
		"proc/meminfo":         meminfo,
		"proc/vmstat":          "nr_free_pages 50000\npswpin 10\npswpout 20\nallocstall_dma 0\noom_kill 3\n",
		"proc/pressure/memory": "some avg10=0.00 avg60=4.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=2.00 avg300=0.00 total=1\n",
	})
	got, summary := figures(t, ctx)
	page := float64(os.Getpagesize())
	want := map[string]float64{
		"total_bytes": 8e6 * 1024, "available_bytes": 1e6 * 1024, "available_ratio": 0.125, "used_bytes": 7e6 * 1024,
		"swap_size_bytes": 2e6 * 1024, "swap_used_bytes": 5e5 * 1024,
		"swap_in_bytes_total": 10 * page, "swap_out_bytes_total": 20 * page,
		"oom_kills_total": 3, "pressure_some_ratio": 0.04, "pressure_full_ratio": 0.02,
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %g, not %g", name, got[name], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the figures are %v", got)
	}
	if want := "977 MiB of 7.6 GiB available (12 %), 488 MiB of 1.9 GiB swap used"; summary != want {
		t.Errorf("the summary is %q, not %q", summary, want)
	}
}

// An old kernel in a container without /proc/vmstat or pressure.
func TestOldKernel(t *testing.T) {
	ctx := write(t, t.TempDir(), map[string]string{"proc/meminfo": meminfo})
	got, _ := figures(t, ctx)
	for _, name := range []string{"oom_kills_total", "swap_in_bytes_total", "pressure_some_ratio"} {
		if v, there := got[name]; there {
			t.Errorf("%s is %g, from nowhere", name, v)
		}
	}
}

func TestNonsense(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "more than all": "MemTotal: 10 kB\nMemAvailable: 11 kB\n"} {
		ctx := write(t, t.TempDir(), map[string]string{"proc/meminfo": text})
		if _, err := memory.New().Run(ctx, &checks.Env{}); err == nil {
			t.Errorf("%s: the run must fail", name)
		}
	}
	if _, err := memory.New().Run(hostfs.WithRoot(t.Context(), t.TempDir()), &checks.Env{}); err == nil {
		t.Error("without figures the run must fail")
	}
}

// The kernel kills a program that outgrows its control group, and the check sees
// it.
func TestOOMKill(t *testing.T) {
	group := limitedGroup(t, 32<<20)
	before, _ := figures(t, t.Context())
	_, err := sandbox.New(sandbox.Options{MaxMemory: 1 << 30}).Exec(t.Context(), checks.Command{
		Path: "/bin/sh",
		// A shell's variable that doubles until it is beyond the limit.
		Args: []string{"-c", `echo $$ >"$1" && x=0123456789abcdef && while :; do x=$x$x; done`, "sh", filepath.Join(group, "cgroup.procs")},
	})
	if err == nil {
		t.Fatal("the program must have been killed")
	}
	after, _ := figures(t, t.Context())
	if after["oom_kills_total"] <= before["oom_kills_total"] {
		t.Errorf("%g OOM kills before, %g after; the program ended with: %v", before["oom_kills_total"], after["oom_kills_total"], err)
	}
}

// limitedGroup makes a control group with a limit on memory, of either version.
func limitedGroup(t *testing.T, bytes int) string {
	t.Helper()
	var errs []error
	for _, version := range []struct{ parent, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		group := filepath.Join(version.parent, fmt.Sprintf("wacht-test-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		t.Cleanup(func() { _ = unix.Rmdir(group) })
		// Swap, where there is any, would hold what is beyond the limit.
		_ = set(group, "memory.swap.max", 0)
		_ = set(group, "memory.swappiness", 0)
		err := set(group, version.limit, bytes)
		if err == nil {
			return group
		}
		errs = append(errs, err)
	}
	t.Skipf("not root, or control groups can't be made here: %v", errors.Join(errs...))
	return ""
}

// set writes to a file that the kernel must have made.
func set(group, name string, value int) error {
	file, err := os.OpenFile(filepath.Join(group, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strconv.Itoa(value))
	return errors.Join(err, file.Close())
}

func BenchmarkRun(b *testing.B) {
	c := memory.New()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Run(b.Context(), &checks.Env{}); err != nil {
			b.Fatal(err)
		}
	}
}
