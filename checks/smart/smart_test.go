package smart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/checks/smart/drives"
)

func load(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// disks is a sandbox in which smartctl gives prepared answers: a scan's under
// "scan", and each drive's under its name.
type disks map[string][]byte

func (d disks) Exec(ctx context.Context, cmd checks.Command) (checks.Output, error) {
	if err := ctx.Err(); err != nil {
		return checks.Output{}, err
	}
	key := cmd.Args[len(cmd.Args)-1]
	if cmd.Args[0] == "--scan-open" {
		key = "scan"
	}
	data, ok := d[key]
	if !ok {
		return checks.Output{}, errors.New("running smartctl: " + key + " hangs")
	}
	var r struct {
		Smartctl struct {
			ExitStatus int `json:"exit_status"`
		} `json:"smartctl"`
	}
	_ = json.Unmarshal(data, &r)
	return checks.Output{Stdout: data, ExitCode: r.Smartctl.ExitStatus}, nil
}

// with builds a machine that has these disks, by name and file.
func with(t testing.TB, files map[string]string) disks {
	t.Helper()
	d := make(disks)
	var scan []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		scan = append(scan, `{"name":"`+name+`","type":"sat"}`)
		if files[name] != "" {
			d[name] = load(t, files[name])
		}
	}
	d["scan"] = []byte(`{"devices":[` + strings.Join(scan, ",") + `]}`)
	return d
}

func recorded(t testing.TB) disks {
	return disks{
		"scan":       load(t, "recorded/scan-open"),
		"/dev/sda":   load(t, "recorded/ata"),
		"/dev/sdb":   load(t, "recorded/ata-ssd"),
		"/dev/sdc":   load(t, "recorded/scsi-without-smart"),
		"/dev/nvme0": load(t, "recorded/nvme"),
		"/dev/nvme1": load(t, "recorded/nvme-degraded"),
	}
}

func run(t *testing.T, sandbox checks.Sandbox, last any) checks.Run {
	t.Helper()
	c := New()
	params, err := c.Spec().Params(checks.Params{"smartctl": {"/usr/sbin/smartctl"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(t.Context(), &checks.Env{Params: params, Sandbox: sandbox, Last: last})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

func byItem(run checks.Run) map[string]checks.Result {
	out := make(map[string]checks.Result)
	for _, r := range run.Results {
		out[r.Item] = r
	}
	return out
}

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		var name strings.Builder
		name.WriteString(m.Name)
		for _, l := range m.Labels {
			name.WriteString(" " + l.Value)
		}
		out[name.String()] = m.Value
	}
	return out
}

func TestRecordedMachine(t *testing.T) {
	got := run(t, recorded(t), nil)
	items := byItem(got)
	if want := []string{"ATA0001", "ATA0002", "NVME0001", "NVME0002"}; !got.Complete || !slices.Equal(slices.Sorted(maps.Keys(items)), want) {
		t.Fatalf("got %v, complete %v, want %v", slices.Sorted(maps.Keys(items)), got.Complete, want)
	}
	for item, want := range map[string]map[string]float64{
		"ATA0001":  {"overall_failed": 0, "selftest_failed": 0, "reallocated_sectors": 0, "temperature_celsius": 31, "power_on_seconds": 3600},
		"ATA0002":  {"rotating": 0, "own_limits": 0},
		"NVME0001": {"critical_warning": 0, "rotating": 0, "temperature_celsius": 50, "life_used_ratio": 0, "media_errors": 0},
		"NVME0002": {"critical_warning": 4, "overall_failed": 1},
	} {
		figures := values(items[item])
		for name, value := range want {
			if figure, ok := figures[name]; !ok || figure != value {
				t.Errorf("%s: %s is %v (there: %v), want %v", item, name, figure, ok, value)
			}
		}
		if items[item].Status != checks.OK {
			t.Errorf("%s is %v: reading it worked", item, items[item].Status)
		}
	}
	if s := items["NVME0002"].Summary; s != "QEMU NVMe Ctrl (/dev/nvme1), says that it is FAILING, 50 °C, 0 % of its life used" {
		t.Errorf("the summary is %q", s)
	}
}

func TestConstructed(t *testing.T) {
	for file, want := range map[string]map[string]float64{
		"hdd-seagate": {
			"reallocated_sectors": 17, "spin_retries": 1, "end_to_end_normalized": 98, "reported_uncorrectable": 3,
			"command_timeouts any": 6, "command_timeouts 5s": 5, "command_timeouts 7.5s": 4, "reallocation_events": 11,
			"pending_sectors": 8, "offline_uncorrectable": 9, "crc_errors": 7, "rotating": 1, "power_on_seconds": 3601800,
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0,
			"temperature_celsius": 30, "own_limits": 0,
		},
		"hdd-failing": {
			"overall_failed": 1, "prefail_failed": 1, "prefail_failed_before": 0, "errors_logged": 1, "selftest_failed": 1,
			"reallocated_sectors": 1975, "rotating": 1, "temperature_celsius": 61, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"hdd-failed-before": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 1, "errors_logged": 1, "selftest_failed": 0,
			"reallocated_sectors": 0, "rotating": 1, "temperature_celsius": 30, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"hdd-packed": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0,
			"reallocated_sectors": 0, "reallocation_events": 0, "rotating": 1, "temperature_celsius": 30, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"ssd-sata": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0,
			"reallocated_sectors": 0, "reported_uncorrectable": 0, "crc_errors": 108, "life_used_ratio": 0.19,
			"rotating": 0, "temperature_celsius": 30, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"ssd-bogus-pending": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0,
			"life_used_ratio": 0.05, "rotating": 0, "temperature_celsius": 30, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"ssd-statistics": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0,
			"life_used_ratio": 0.12, "rotating": 0, "temperature_celsius": 30, "own_limits": 0, "power_on_seconds": 3601800,
		},
		"nvme-worn": {
			"overall_failed": 1, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 1,
			"critical_warning": 5, "available_spare_ratio": 0.04, "available_spare_threshold_ratio": 0.1, "life_used_ratio": 1.03,
			"media_errors": 18446744073709551616, "rotating": 0, "temperature_celsius": 78, "temperature_warning_celsius": 77,
			"temperature_critical_celsius": 80, "own_limits": 1, "power_on_seconds": 72000000,
		},
		"sas": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 1,
			"grown_defects": 21, "uncorrected_errors": 3, "rotating": 1, "temperature_celsius": 41,
			"temperature_critical_celsius": 60, "own_limits": 1,
		},
		"usb-without-serial": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0, "rotating": 1,
		},
		"support-as-truth": {
			"overall_failed": 0, "prefail_failed": 0, "prefail_failed_before": 0, "errors_logged": 0, "selftest_failed": 0, "rotating": 1,
		},
	} {
		t.Run(file, func(t *testing.T) {
			got := run(t, with(t, map[string]string{"/dev/sda": "constructed/" + file}), nil)
			if len(got.Results) != 1 {
				t.Fatalf("got %d results", len(got.Results))
			}
			if figures := values(got.Results[0]); !maps.Equal(figures, want) {
				t.Errorf("got  %v\nwant %v", figures, want)
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	r := run(t, with(t, map[string]string{"/dev/sda": "constructed/hdd-failing"}), nil).Results[0]
	want := "attribute 5 Reallocated_Sector_Ct failed: now (value 1, raw 1975)\nnewest self-test: Completed: read failure\nsmartctl ended with status 216"
	if r.Evidence != want {
		t.Errorf("got %q", r.Evidence)
	}
}

func TestItems(t *testing.T) {
	for name, tt := range map[string]struct {
		files    map[string]string
		items    []string
		complete bool
	}{
		"by WWN":              {map[string]string{"/dev/sdz": "constructed/usb-without-serial"}, []string{"wwn-5000c50012345678"}, true},
		"two paths":           {map[string]string{"/dev/sda": "constructed/sas", "/dev/sdb": "constructed/sas"}, []string{"SAS1"}, true},
		"nothing to tell":     {map[string]string{"/dev/sda": "recorded/scsi-without-smart"}, nil, true},
		"can't be opened":     {map[string]string{"/dev/sda": "recorded/no-such-device", "/dev/sdb": "constructed/sas"}, []string{"/dev/sda", "SAS1"}, false},
		"hangs":               {map[string]string{"/dev/sda": "", "/dev/sdb": "constructed/sas"}, []string{"/dev/sda", "SAS1"}, false},
		"asleep all the time": {map[string]string{"/dev/sda": "constructed/asleep"}, []string{"/dev/sda"}, false},
		"switched off":        {map[string]string{"/dev/sda": "constructed/switched-off"}, []string{"OFF1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, with(t, tt.files), nil)
			if items := slices.Sorted(maps.Keys(byItem(got))); !slices.Equal(items, tt.items) || got.Complete != tt.complete {
				t.Errorf("got %q, complete %v, want %q, complete %v", items, got.Complete, tt.items, tt.complete)
			}
		})
	}
}

func TestSameSerialTwice(t *testing.T) {
	files := map[string]string{"/dev/sda": "constructed/sas", "/dev/sdb": "constructed/sas"}
	machine := with(t, files)
	machine["/dev/sdb"] = bytes.ReplaceAll(machine["/dev/sdb"], []byte("EXAMPLE SAS10K"), []byte("OTHER MODEL"))
	if items := slices.Sorted(maps.Keys(byItem(run(t, machine, nil)))); !slices.Equal(items, []string{"SAS1", "SAS1 /dev/sdb"}) {
		t.Errorf("got %q", items)
	}
}

// TestMemory: a drive that was read before keeps its name when it can't be read.
func TestMemory(t *testing.T) {
	first := run(t, with(t, map[string]string{"/dev/sda": "constructed/hdd-seagate"}), nil)
	sleeping := with(t, map[string]string{"/dev/sda": "constructed/asleep"})
	second := run(t, sleeping, first.Sample)
	third := run(t, sleeping, second.Sample)
	r := third.Results[0]
	if r.Item != "SEAGATE1" || r.Status != checks.OK || strings.Count(r.Summary, "asleep") != 1 || values(r)["reallocated_sectors"] != 17 {
		t.Errorf("asleep: %q is %v %q", r.Item, r.Status, r.Summary)
	}
	gone := with(t, map[string]string{"/dev/sda": "recorded/no-such-device"})
	fourth := run(t, gone, third.Sample)
	fifth := run(t, gone, fourth.Sample)
	if r := fifth.Results[0]; r.Item != "SEAGATE1" || r.Status != checks.Unknown || !strings.Contains(r.Summary, "/dev/sda") || !fifth.Complete {
		t.Errorf("can't be opened: %q is %v %q", r.Item, r.Status, r.Summary)
	}
	empty := run(t, disks{"scan": []byte(`{"devices":[]}`)}, fifth.Sample)
	if len(empty.Results) != 0 || !empty.Complete {
		t.Errorf("vanished: %v", empty.Results)
	}
}

func TestNotRoot(t *testing.T) {
	got := run(t, disks{"scan": load(t, "recorded/scan-open-not-root")}, nil)
	if len(got.Results) != 5 || got.Complete {
		t.Fatalf("got %d results, complete %v", len(got.Results), got.Complete)
	}
	for _, r := range got.Results {
		if r.Status != checks.Unknown || !strings.Contains(r.Summary, "Permission denied; it needs root") {
			t.Errorf("%s is %v %q", r.Item, r.Status, r.Summary)
		}
	}
	one := run(t, with(t, map[string]string{"/dev/sda": "recorded/ata-not-root"}), nil).Results[0]
	if one.Status != checks.Unknown || !strings.Contains(one.Summary, "it needs root") {
		t.Errorf("%v %q", one.Status, one.Summary)
	}
}

func TestDiscover(t *testing.T) {
	for name, tt := range map[string]struct {
		machine disks
		items   []string
	}{
		"drives":  {recorded(t), []string{"ATA0001", "ATA0002", "NVME0001", "NVME0002"}},
		"none":    {disks{"scan": []byte(`{"devices":[]}`)}, nil},
		"virtual": {with(t, map[string]string{"/dev/sda": "recorded/scsi-without-smart"}), nil},
	} {
		params := checks.Params{"smartctl": {"/usr/sbin/smartctl"}}
		got, err := New().Discover(t.Context(), &checks.Env{Params: params, Sandbox: tt.machine})
		if err != nil {
			t.Fatal(err)
		}
		var items []string
		for _, instance := range got {
			items = append(items, instance.Items...)
		}
		if !slices.Equal(items, tt.items) {
			t.Errorf("%s: got %q, want %q", name, items, tt.items)
		}
	}
}

func TestStrangeNamesAreNotGivenBack(t *testing.T) {
	machine := disks{"scan": []byte(`{"devices":[{"name":"--smart=off","type":"sat"},{"name":"/dev/sda","type":"-s"}]}`)}
	for _, r := range run(t, machine, nil).Results {
		if r.Status != checks.Unknown || !strings.Contains(r.Summary, "can't be given back") {
			t.Errorf("%q is %v %q", r.Item, r.Status, r.Summary)
		}
	}
}

// TestRealSmartctl: the real program takes our arguments, and says what it can't open.
func TestRealSmartctl(t *testing.T) {
	program, err := drives.Find(sandbox.New(sandbox.Options{}))
	if err != nil {
		t.Skip("smartctl is not installed (Debian: apt-get install smartmontools)")
	}
	if _, err := program.Scan(t.Context()); err != nil {
		t.Errorf("scanning: %v", err)
	}
	a := askOne(t.Context(), program, drives.Device{Name: "/dev/null", Type: "sat"})
	if a.err != nil {
		t.Fatal(a.err)
	}
	reason := a.unreadable(program.Denied())
	if a.report.sleeping() || !strings.HasPrefix(reason, "smartctl can't read /dev/null: it gives no answer") {
		t.Errorf("status %d, %q", a.report.Smartctl.ExitStatus, reason)
	}
}

func TestConformance(t *testing.T) {
	checktest.Run(t, New(), checktest.Options{
		Params:       checks.Params{"smartctl": {"/usr/sbin/smartctl"}},
		Sandbox:      recorded(t),
		Discoverable: true,
	})
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	spec := New().Spec()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := read(data)
		if err != nil {
			return
		}
		run := checks.Run{Results: []checks.Result{r.result("drive", device{Name: "/dev/sda"})}}
		if err := spec.Validate(&run); err != nil {
			t.Error(err)
		}
	})
}
