package service

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

const minute = uint64(time.Minute / time.Microsecond)

// server is a machine with a unit for each case.
func server() *fakeSystemd {
	dead := func(props map[string]any) fakeUnit { return fakeUnit{"loaded", "inactive", "dead", props} }
	ended := func(kind, restart string, code, status int32, ran uint64) fakeUnit {
		return dead(map[string]any{
			"Type": kind, "Restart": restart, "ExecMainCode": code, "ExecMainStatus": status,
			"ExecMainStartTimestamp": 1000 * minute, "ExecMainExitTimestamp": 1000*minute + ran,
		})
	}
	return &fakeSystemd{units: map[string]fakeUnit{
		"multi-user.target": {"loaded", "active", "active", nil},
		"graphical.target":  {"loaded", "inactive", "dead", nil},
		"listening.socket":  {"loaded", "active", "listening", nil},
		"idle.socket":       {"loaded", "inactive", "dead", nil},
		"nightly.timer":     {"loaded", "active", "waiting", nil},

		"running.service":     {"loaded", "active", "running", nil},
		"starting.service":    {"loaded", "activating", "start-pre", nil},
		"restarting.service":  {"loaded", "activating", "auto-restart", map[string]any{"Restart": "always", "NRestarts": uint32(7), "Result": "exit-code", "ExecMainStatus": int32(3), "ExecMainExitTimestamp": minute}},
		"failed.service":      {"loaded", "failed", "failed", map[string]any{"Result": "exit-code", "ExecMainStatus": int32(203), "ExecMainExitTimestamp": minute}},
		"never.service":       dead(nil),
		"stopped.service":     ended("notify", "no", 1, 0, minute),
		"stopped-web.service": ended("simple", "no", 1, 0, 600*minute),
		"terminated.service":  ended("simple", "no", 2, 15, minute),
		"revived.service":     ended("simple", "always", 1, 0, minute),
		"done.service":        ended("simple", "on-failure", 1, 0, minute),
		"conditions.service":  dead(map[string]any{"ConditionResult": false}),
		"by-socket.service":   dead(map[string]any{"TriggeredBy": []string{"listening.socket"}}),
		"by-idle.service":     dead(map[string]any{"TriggeredBy": []string{"idle.socket"}}),
		"script.service":      dead(map[string]any{"UnitFileState": "generated", "Type": "forking"}),

		"oneshot.service":  dead(map[string]any{"Type": "oneshot"}),
		"static.service":   dead(map[string]any{"UnitFileState": "static"}),
		"disabled.service": dead(map[string]any{"UnitFileState": "disabled"}),
		"by-bus.service":   dead(map[string]any{"WantedBy": []string{}}),
		"desktop.service":  dead(map[string]any{"WantedBy": []string{"graphical.target"}}),
		"masked.service":   {"masked", "inactive", "dead", nil},
		"missing.service":  {"not-found", "inactive", "dead", nil},
	}}
}

func newCheck(t testing.TB) *check {
	t.Helper()
	c := New().(*check)
	c.manager = systemd{t.TempDir(), time.Now}
	c.uptime = func(context.Context) (uint64, error) { return 3600, nil }
	return c
}

func run(t *testing.T, c *check, last any, given checks.Params) checks.Run {
	t.Helper()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(t.Context(), &checks.Env{Params: params, Last: last})
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
		out[m.Name] = m.Value
	}
	return out
}

func TestServer(t *testing.T) {
	bus(t, server())
	got := byItem(run(t, newCheck(t), nil, nil))
	wanted := map[string]struct {
		active, expected, failed float64
		summary                  string
	}{
		"running.service":     {1, 1, 0, "active (running)"},
		"starting.service":    {1, 1, 0, "activating (start-pre)"},
		"restarting.service":  {0, 1, 0, "activating (auto-restart): it was ended (exit-code, status 3)"},
		"failed.service":      {0, 1, 1, "failed (failed): exit-code, its main process ended with status 203"},
		"never.service":       {0, 1, 0, "inactive (dead): it has not been started"},
		"stopped.service":     {0, 1, 0, "inactive (dead): it was stopped"},
		"stopped-web.service": {0, 1, 0, "inactive (dead): it was stopped"},
		"terminated.service":  {0, 1, 0, "inactive (dead): it was ended (success, status 15)"},
		"revived.service":     {0, 1, 0, "inactive (dead): it was stopped"},
		"done.service":        {0, 0, 0, "inactive (dead): it has done its work"},
		"conditions.service":  {0, 0, 0, "inactive (dead): its conditions are not met on this machine"},
		"by-socket.service":   {0, 0, 0, "inactive (dead): started by listening.socket"},
		"by-idle.service":     {0, 1, 0, "inactive (dead): it has not been started"},
		"script.service":      {0, 1, 0, "inactive (dead): it has not been started"},
	}
	if items := slices.Sorted(maps.Keys(got)); !slices.Equal(items, slices.Sorted(maps.Keys(wanted))) {
		t.Errorf("got %q", items)
	}
	for item, want := range wanted {
		r, v := got[item], values(got[item])
		if v["active"] != want.active || v["expected"] != want.expected || v["failed"] != want.failed || v["chosen"] != 0 {
			t.Errorf("%s: got %v", item, v)
		}
		if r.Summary != want.summary || r.Status != checks.OK {
			t.Errorf("%s: got %v %q, want %q", item, r.Status, r.Summary, want.summary)
		}
		_, aged := v["boot_age_seconds"]
		if aged != (want.expected == 1 && want.active == 0) {
			t.Errorf("%s: boot_age_seconds is there: %v", item, aged)
		}
		_, counted := v["restarts"]
		if counted != (item == "restarting.service" || item == "revived.service" || item == "done.service") {
			t.Errorf("%s: restarts is there: %v", item, counted)
		}
	}
	if v := values(got["restarting.service"]); v["restarts"] != 7 || v["boot_age_seconds"] != 3600 {
		t.Errorf("got %v", v)
	}
}

func TestChosenAndExcluded(t *testing.T) {
	bus(t, server())
	c := newCheck(t)
	got := byItem(run(t, c, nil, checks.Params{"units": {"by-socket", "oneshot.service", "nightly.timer", "missing", "none", "running", "running.service"}}))
	for item, want := range map[string]struct{ active, expected float64 }{
		"by-socket.service": {0, 1}, "oneshot.service": {0, 0}, "nightly.timer": {1, 1},
		"missing.service": {0, 1}, "none.service": {0, 1}, "running.service": {1, 1},
	} {
		if v := values(got[item]); v["active"] != want.active || v["expected"] != want.expected || v["chosen"] != 1 {
			t.Errorf("%s: got %v %q", item, v, got[item].Summary)
		}
	}
	if len(got) != 6 {
		t.Errorf("got %v", got)
	}
	rest := byItem(run(t, c, nil, checks.Params{"exclude": {"running", "failed.service"}}))
	if _, ok := rest["running.service"]; ok || len(rest) != 12 {
		t.Errorf("got %q", slices.Sorted(maps.Keys(rest)))
	}
}

func TestDiscover(t *testing.T) {
	bus(t, server())
	got, err := newCheck(t).Discover(t.Context(), &checks.Env{})
	if err != nil || len(got) != 1 || got[0].Name != "" || len(got[0].Items) != 14 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestWhatUnitsAreIsRemembered: a run asks only for what changes, until ten minutes
// have passed.
func TestWhatUnitsAreIsRemembered(t *testing.T) {
	f := server()
	bus(t, f)
	c, now := newCheck(t), time.Unix(1_800_000_000, 0)
	m := c.manager.(systemd)
	m.now = func() time.Time { return now }
	c.manager = m
	first := run(t, c, nil, nil)
	f.set("disabled.service", func(u *fakeUnit) { u.props = nil })
	asked := f.count("UnitFileState")
	second := run(t, c, first.Sample, nil)
	if more := f.count("UnitFileState") - asked; more != 0 || len(second.Results) != len(first.Results) {
		t.Errorf("asked %d times again, %d results", more, len(second.Results))
	}
	f.set("new.service", func(u *fakeUnit) { *u = fakeUnit{"loaded", "active", "running", nil} })
	third := run(t, c, second.Sample, nil)
	if more := f.count("UnitFileState") - asked; more != 1 || len(third.Results) != len(first.Results)+1 {
		t.Errorf("asked %d times for a new unit, %d results", more, len(third.Results))
	}
	now = now.Add(refresh + time.Second)
	if fourth := run(t, c, third.Sample, nil); len(fourth.Results) != len(first.Results)+2 {
		t.Errorf("after ten minutes there are %d results", len(fourth.Results))
	}
}

func TestWithoutSystemd(t *testing.T) {
	c := newCheck(t)
	c.manager = systemd{filepath.Join(t.TempDir(), "none"), time.Now}
	if got, err := c.Discover(t.Context(), &checks.Env{}); err != nil || got != nil {
		t.Errorf("discovered %v, %v", got, err)
	}
	if _, err := c.Run(t.Context(), &checks.Env{}); !errors.Is(err, errNoManager) || !strings.Contains(err.Error(), "systemd does not run on this machine") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutBus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	if _, err := newCheck(t).Run(t.Context(), &checks.Env{}); err == nil || !strings.Contains(err.Error(), "connecting to the system bus") {
		t.Errorf("got %v", err)
	}
}

func TestVerdictIsTotal(t *testing.T) {
	for _, code := range []int32{0, 1, 2} {
		for _, over := range []uint64{0, 5, minute, 20 * minute} {
			for _, k := range []kind{{}, {oneshot: true}, {daemon: true}, {always: true}} {
				e := end{conditionsMet: true, result: "success", code: code, over: over}
				if expected, why := e.verdict(k, false); why == "" || k.daemon && !expected || k.always && !expected {
					t.Errorf("%+v %+v: %v %q", e, k, expected, why)
				}
			}
		}
	}
}

func TestConformance(t *testing.T) {
	f := server()
	bus(t, f)
	checktest.Run(t, newCheck(t), checktest.Options{Discoverable: true})
}

func TestHangingSystemd(t *testing.T) {
	f := server()
	f.hang, f.end = make(chan struct{}), make(chan struct{})
	bus(t, f)
	t.Cleanup(func() { close(f.end) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.hang; cancel() }()
	if _, err := newCheck(t).Run(ctx, &checks.Env{}); err == nil {
		t.Error("a run that was cancelled gave no error")
	}
}

// BenchmarkRun is a run since whose predecessor nothing has changed.
func BenchmarkRun(b *testing.B) {
	bus(b, server())
	c := newCheck(b)
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
