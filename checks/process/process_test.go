package process

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

// TestMain lets the test binary be the program that is looked for: with this
// variable it only waits until its input ends.
const waits = "WACHT_PROCESS_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(waits) != "" {
		os.Stdout.WriteString("ready")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start starts a program with an argument to find it by, and returns what ends it.
func start(t *testing.T, mark string) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, mark)
	cmd.Env = append(os.Environ(), waits+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	stop = func() { in.Close(); cmd.Wait() }
	t.Cleanup(stop)
	return stop
}

func run(t *testing.T, last any, given checks.Params) checks.Run {
	t.Helper()
	c := New()
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

func values(run checks.Run) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range run.Results[0].Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func selfName(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(path)
}

func TestRun(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	const mark = "wacht-mark-7c1d"
	nobody := checks.Params{"user": {me.Username}, "command": {mark}}
	if got := run(t, nil, nobody); values(got)["processes"] != 0 || got.Results[0].Summary != "no process matches" {
		t.Errorf("before any started: %v", got.Results)
	}
	stop := start(t, mark)
	start(t, mark)
	for name, tt := range map[string]struct {
		params checks.Params
		count  float64
	}{
		"command":               {checks.Params{"command": {mark + "$"}}, 2},
		"user by name":          {checks.Params{"user": {me.Username}, "command": {mark}}, 2},
		"user by number":        {checks.Params{"user": {me.Uid}, "command": {mark}}, 2},
		"another user":          {checks.Params{"user": {"4000000000"}, "command": {mark}}, 0},
		"name":                  {checks.Params{"name": {selfName(t)}, "command": {mark}}, 2},
		"another name":          {checks.Params{"name": {"wacht-nothing"}, "command": {mark}}, 0},
		"part of a name is not": {checks.Params{"name": {selfName(t)[1:]}, "command": {mark}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, nil, tt.params)
			if v := values(got); v["processes"] != tt.count || (v["rss_bytes"] > 0) != (tt.count > 0) {
				t.Errorf("got %v, want %v", v, tt.count)
			}
			if strings.Contains(got.Results[0].Summary+got.Results[0].Evidence, mark) {
				t.Errorf("the result shows a command line: %+v", got.Results[0])
			}
		})
	}
	stop()
	if got := run(t, nil, nobody); values(got)["processes"] != 1 || !strings.HasPrefix(got.Results[0].Summary, "1 process, ") {
		t.Errorf("after one ended: %v", got.Results)
	}
}

func TestCPU(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	a, b, c := identity{1, 10}, identity{2, 10}, identity{2, 20}
	last := sample{at, map[identity]float64{a: 100, b: 50}}
	sum := total{count: 2, oldest: at.UnixMilli(), now: sample{at.Add(time.Minute), map[identity]float64{a: 115, c: 15}}}
	r := sum.result(last)
	if got := values(checks.Run{Results: []checks.Result{r}}); got["cpu_ratio"] != 0.5 || got["age_seconds"] != 60 {
		t.Errorf("got %v", got)
	}
	first := sum.result(sample{})
	if _, ok := values(checks.Run{Results: []checks.Result{first}})["cpu_ratio"]; ok {
		t.Error("the first run can't know what was used")
	}
	sum.now.at = at.Add(-time.Hour)
	back := sum.result(last)
	if got, ok := values(checks.Run{Results: []checks.Result{back}})["cpu_ratio"]; ok {
		t.Errorf("the clock was set back, and cpu_ratio is %v", got)
	}
}

func TestConformance(t *testing.T) {
	checktest.Run(t, New(), checktest.Options{
		Params: checks.Params{"name": {selfName(t)}},
		Refused: []checktest.Refusal{
			{Params: nil, Name: "name"},
			{Params: checks.Params{"command": {"("}}, Name: "command"},
			{Params: checks.Params{"user": {"no such user"}}, Name: "user"},
		},
	})
}

func BenchmarkByName(b *testing.B) {
	c := New()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Run(b.Context(), &checks.Env{Params: checks.Params{"name": {"wacht-nothing"}}}); err != nil {
			b.Fatal(err)
		}
	}
}
