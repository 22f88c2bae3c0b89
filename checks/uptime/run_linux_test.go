package uptime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
	"github.com/wacht-io/wacht/checks/uptime"
)

// machine is a root with the given files, up for the given seconds.
func machine(t *testing.T, up float64, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "proc/uptime", fmt.Sprintf("%.2f 1000.00\n", up))
	for name, text := range files {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, root string) (checks.Result, map[string]float64) {
	t.Helper()
	c := uptime.New()
	run, err := c.Run(hostfs.WithRoot(t.Context(), root), &checks.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&run); err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]float64)
	for _, m := range run.Results[0].Metrics {
		figures[m.Name] = m.Value
	}
	return run.Results[0], figures
}

const days40 = 40*24*3600 + 2*3600

func TestRebootRequired(t *testing.T) {
	const unknown = -1
	tests := []struct {
		name     string
		up       float64
		files    map[string]string
		required float64
		summary  string
	}{
		{"apt, nothing", days40, map[string]string{"var/lib/dpkg/status": ""}, 0, "up 40 d 2 h"},
		{"apt, without a list", days40, map[string]string{"run/reboot-required": "*** System restart required ***\n"}, 1, "up 40 d 2 h, restart required"},
		{
			"apt", days40,
			map[string]string{"run/reboot-required": "", "run/reboot-required.pkgs": "linux-image-6.1.0-25-amd64\nlibc6\nlibc6\n"},
			1, "up 40 d 2 h, restart required by libc6, linux-image-6.1.0-25-amd64",
		},
		{
			"apt, many", days40,
			map[string]string{"run/reboot-required": "", "run/reboot-required.pkgs": "e\nd\nc\nb\na\n"},
			1, "up 40 d 2 h, restart required by a, b, c and 2 more",
		},
		{"zypper", days40, map[string]string{"run/reboot-needed": "", "usr/lib/sysimage/rpm/x": ""}, 1, "up 40 d 2 h, restart required"},
		{
			"rpm, replaced since the start", days40,
			map[string]string{"var/lib/rpm/x": "", "usr/lib/modules/6.1.0-2/vmlinuz": "", "usr/lib64/libc.so.6": ""},
			1, "up 40 d 2 h, restart required by kernel, glibc",
		},
		{"rpm, without those files", days40, map[string]string{"var/lib/rpm/x": ""}, 0, "up 40 d 2 h"},
		{"neither", 59, nil, unknown, "up 59 s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, figures := run(t, machine(t, tt.up, tt.files))
			required, known := figures["reboot_required"]
			if known != (tt.required != unknown) || known && required != tt.required {
				t.Errorf("required is %g, known %t", required, known)
			}
			if got.Summary != tt.summary {
				t.Errorf("the summary is %q, not %q", got.Summary, tt.summary)
			}
			if figures["uptime_seconds"] != tt.up {
				t.Errorf("up for %g s", figures["uptime_seconds"])
			}
		})
	}
}

// What was installed before the start is in use.
func TestInstalledBeforeTheStart(t *testing.T) {
	root := machine(t, 0, map[string]string{"var/lib/rpm/x": "", "usr/lib64/libc.so.6": ""})
	placed, err := os.Stat(filepath.Join(root, "usr", "lib64", "libc.so.6"))
	if err != nil {
		t.Fatal(err)
	}
	for !time.Now().After(placed.ModTime()) { // the filesystem's clock ticks coarsely
		runtime.Gosched()
	}
	if _, figures := run(t, root); figures["reboot_required"] != 0 {
		t.Error("no restart is required")
	}
}

func TestEvidenceListsAll(t *testing.T) {
	var long strings.Builder
	long.WriteString(strings.Repeat("package-with-a-long-name\xff\n", 3) + strings.Repeat("b", 1000) + "\nc\nd\n")
	for i := range 1000 {
		fmt.Fprintf(&long, "package-%d\n", i)
	}
	got, _ := run(t, machine(t, days40, map[string]string{"run/reboot-required": "", "run/reboot-required.pkgs": long.String()}))
	if !strings.Contains(got.Evidence, "c\nd\n") || len(got.Evidence) > checks.MaxEvidenceBytes {
		t.Errorf("the evidence is %q", got.Evidence)
	}
}

func TestBootTime(t *testing.T) {
	_, figures := run(t, machine(t, 3600, nil))
	now := float64(time.Now().Unix())
	if boot := figures["boot_time_seconds"]; boot > now-3599 || boot < now-3600-3600 {
		t.Errorf("started at %g, with %g now", boot, now)
	}
}

func TestDamaged(t *testing.T) {
	for _, text := range []string{"", "soon 1\n", "NaN 1\n", "-5 1\n", "1e300 1\n"} {
		root := t.TempDir()
		write(t, root, "proc/uptime", text)
		if _, err := uptime.New().Run(hostfs.WithRoot(t.Context(), root), &checks.Env{}); err == nil {
			t.Errorf("%q must fail", text)
		}
	}
}
