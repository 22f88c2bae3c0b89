package hostfs_test

import (
	"context"
	"testing"

	"github.com/shirou/gopsutil/v3/common"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

func TestPaths(t *testing.T) {
	t.Setenv("HOST_SYS", "/host/sys")
	ctx := context.WithValue(t.Context(), common.EnvKey, common.EnvMap{common.HostProcEnvKey: "/given"})
	for got, want := range map[string]string{
		hostfs.Proc(ctx, "a", "b"):              "/given/a/b",
		hostfs.Proc(t.Context(), "a"):           "/proc/a",
		hostfs.Sys(ctx, "block"):                "/host/sys/block",
		hostfs.Run(ctx, "x"):                    "/run/x",
		hostfs.Root(ctx, "usr"):                 "/usr",
		hostfs.Run(hostfs.WithRoot(ctx, "/r")):  "/r/run",
		hostfs.Root(hostfs.WithRoot(ctx, "/r")): "/r",
	} {
		if got != want {
			t.Errorf("got %s, not %s", got, want)
		}
	}
}

func TestPressure(t *testing.T) {
	p, err := hostfs.ParsePressure([]byte("some avg10=0.00 avg60=1.50 avg300=0.18 total=3780144\nfull avg10=0.03 avg60=0.50 avg300=0.10 total=2591927\n"))
	if err != nil || p.Some != 0.015 || p.Full != 0.005 {
		t.Errorf("got %v, %v", p, err)
	}
	// Before Linux 5.13 the processor has no full line.
	if p, err = hostfs.ParsePressure([]byte("some avg10=0.00 avg60=2.00 avg300=0.00 total=1\n")); err != nil || p.Some != 0.02 || p.Full != 0 {
		t.Errorf("got %v, %v", p, err)
	}
	if _, ok := hostfs.ReadPressure(hostfs.WithRoot(t.Context(), t.TempDir()), "io"); ok {
		t.Error("there is nothing to read")
	}
}

func FuzzParsePressure(f *testing.F) {
	f.Add([]byte("some avg10=0.00 avg60=1.50 avg300=0.18 total=3780144\n"))
	f.Add([]byte("some a avg60=NaN"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := hostfs.ParsePressure(data)
		if err == nil && !(p.Some >= 0 && p.Some <= 1 && p.Full >= 0 && p.Full <= 1) {
			t.Errorf("%q is no ratio: %v", data, p)
		}
	})
}
