package containers

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/volume"
	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

func TestMain(m *testing.M) {
	if plugintest.Serving() {
		plugins.Serve(New())
		return
	}
	goleak.VerifyTestMain(m)
}

var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// value is a metric of a result; ok says whether it has it.
func value(r checks.Result, name string) (v float64, ok bool) {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// figuresOf writes metrics as name=value; those that are absent are name=-.
func figuresOf(r checks.Result, names string) string {
	var out []string
	for name := range strings.FieldsSeq(names) {
		text := "-"
		if v, ok := value(r, name); ok {
			b, _ := json.Marshal(v)
			text = string(b)
		}
		out = append(out, name+"="+text)
	}
	return strings.Join(out, " ")
}

// The answers are Docker's and Podman's, cut down to what matters.
func TestState(t *testing.T) {
	const names = "running expected restarting paused oom_killed exit_code healthy restarts_total running_seconds"
	for _, tt := range []struct{ name, answer, figures, summary string }{
		{"runs",
			`{"State":{"Status":"running","Running":true,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`,
			"running=1 expected=1 restarting=0 paused=0 oom_killed=0 exit_code=- healthy=- restarts_total=0 running_seconds=3600",
			"running for 1h0m0s"},
		{"healthy",
			`{"State":{"Status":"running","Running":true,"StartedAt":"2026-06-01T11:59:00Z","Health":{"Status":"healthy"}}}`,
			"running=1 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=- healthy=1 restarts_total=0 running_seconds=60",
			"running for 1m0s, healthy"},
		{"starts to be healthy",
			`{"State":{"Status":"running","Running":true,"StartedAt":"2026-06-01T11:59:00Z","Health":{"Status":"starting"}}}`,
			"running=1 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=- healthy=- restarts_total=0 running_seconds=60",
			"running for 1m0s, starting"},
		{"stopped though it should run",
			`{"State":{"Status":"exited","ExitCode":0,"StartedAt":"2026-06-01T11:00:00Z","Health":{"Status":"unhealthy"}},"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}`,
			"running=0 expected=1 restarting=0 paused=0 oom_killed=0 exit_code=0 healthy=- restarts_total=0 running_seconds=-",
			"exited with code 0, should run: its restart policy is unless-stopped"},
		{"a job that is done",
			`{"State":{"Status":"exited","ExitCode":0,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"no"}}}`,
			"running=0 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=0 healthy=- restarts_total=0 running_seconds=-",
			"exited with code 0"},
		{"done, and to be started again had it failed",
			`{"State":{"Status":"exited","ExitCode":0,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}},"RestartCount":1}`,
			"running=0 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=0 healthy=- restarts_total=1 running_seconds=-",
			"exited with code 0, restarted 1 times"},
		{"given up after failures",
			`{"State":{"Status":"exited","ExitCode":3,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}},"RestartCount":3}`,
			"running=0 expected=1 restarting=0 paused=0 oom_killed=0 exit_code=3 healthy=- restarts_total=3 running_seconds=-",
			"exited with code 3, restarted 3 times, should run: its restart policy is on-failure"},
		{"Docker waits to start it again",
			`{"State":{"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"always"}},"RestartCount":9}`,
			"running=0 expected=1 restarting=1 paused=0 oom_killed=0 exit_code=1 healthy=- restarts_total=9 running_seconds=-",
			"restarting with code 1, restarted 9 times, should run: its restart policy is always"},
		{"out of memory",
			`{"State":{"Status":"exited","OOMKilled":true,"ExitCode":137,"StartedAt":"2026-06-01T11:00:00Z"}}`,
			"running=0 expected=0 restarting=0 paused=0 oom_killed=1 exit_code=137 healthy=- restarts_total=0 running_seconds=-",
			"exited with code 137, killed for want of memory"},
		{"paused, as Podman says it",
			`{"State":{"Status":"paused","Running":false,"Paused":true,"StartedAt":"2026-06-01T11:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`,
			"running=1 expected=1 restarting=0 paused=1 oom_killed=0 exit_code=- healthy=- restarts_total=0 running_seconds=3600",
			"paused for 1h0m0s"},
		{"made and never started",
			`{"State":{"Status":"created","StartedAt":"0001-01-01T00:00:00Z"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`,
			"running=0 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=- healthy=- restarts_total=0 running_seconds=-",
			"created"},
		{"nothing told", `{}`,
			"running=0 expected=0 restarting=0 paused=0 oom_killed=0 exit_code=- healthy=- restarts_total=0 running_seconds=-",
			"in a state that the engine does not tell"},
	} {
		var c container.InspectResponse
		if err := json.Unmarshal([]byte(tt.answer), &c); err != nil {
			t.Fatal(err)
		}
		s := stateOf(listed{"1", "web"}, &c)
		r := s.result(today, nil)
		if got := figuresOf(r, names); got != tt.figures {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.figures)
		}
		if r.Summary != tt.summary {
			t.Errorf("%s: %q, want %q", tt.name, r.Summary, tt.summary)
		}
	}
}

func TestRestartSinceTheRunBefore(t *testing.T) {
	for _, tt := range []struct {
		before map[string]int
		want   bool
	}{
		{nil, false}, {map[string]int{"1": 4}, false}, {map[string]int{"1": 3}, true}, {map[string]int{"2": 1}, false}, {map[string]int{"1": 9}, false},
	} {
		s := state{id: "1", restarts: 4}
		if s.note(tt.before); s.restarting != tt.want {
			t.Errorf("after %v: restarting is %v", tt.before, s.restarting)
		}
	}
}

func TestImageAge(t *testing.T) {
	for made, want := range map[time.Time]string{
		today.Add(-time.Hour):                       "image_age_seconds=3600",
		today.Add(time.Hour):                        "image_age_seconds=0", // of a machine whose clock is ahead
		time.Unix(0, 0):                             "image_age_seconds=-", // built to be the same each time
		time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC): "image_age_seconds=-",
	} {
		s := state{image: "sha256:1"}
		if got := figuresOf(s.result(today, map[string]time.Time{"sha256:1": made}), "image_age_seconds"); got != want {
			t.Errorf("made at %v: %s, want %s", made, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	all := []volume.Volume{
		{Name: "data", UsageData: &volume.UsageData{RefCount: 2, Size: 500}},
		{Name: "spare", UsageData: &volume.UsageData{RefCount: 0, Size: 1500}},
		{Name: "elsewhere", UsageData: &volume.UsageData{RefCount: -1, Size: -1}},
		{Name: "untold"},
	}
	r := checks.Result{Metrics: usageOf(all).figures(nil)}
	const want = "volumes=4 volumes_unused=1 volumes_bytes=2000 volumes_unused_bytes=1500 volume_size_bytes=1500"
	if got := figuresOf(r, "volumes volumes_unused volumes_bytes volumes_unused_bytes volume_size_bytes"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for range 100 {
		all = append(all, volume.Volume{Name: "v", UsageData: &volume.UsageData{}})
	}
	if n := len(usageOf(all).figures(nil)); n > checks.MaxMetrics {
		t.Errorf("%d metrics of volumes; a result may have %d", n, checks.MaxMetrics)
	}
}

func TestFilter(t *testing.T) {
	f := newFilter(checks.Params{"include": {"web-*", "db"}, "exclude": {"*-test"}})
	for name, want := range map[string]bool{"web-1": true, "web-test": false, "db": true, "db2": false} {
		if f.takes(name) != want {
			t.Errorf("%s is looked at: %v", name, !want)
		}
	}
	if got := f.missing([]state{{name: "web-1"}}, nil); len(got) != 1 || got[0] != "db" {
		t.Errorf("missing are %q", got)
	}
	if got := f.missing(nil, []failure{{name: "db"}}); len(got) != 0 {
		t.Errorf("missing are %q", got)
	}
}

// listen makes a socket and, with a handler, an engine that answers there.
func listen(t testing.TB, path string, answer http.Handler) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if answer == nil {
		t.Cleanup(func() { l.Close() })
		return
	}
	s := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
}

func TestDiscovery(t *testing.T) {
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	c := newCheck([]place{
		{"docker", at("docker.sock")}, {"podman", at("podman/podman.sock")},
		{"docker", at("user/*/docker.sock")}, {"podman", at("user/*/podman/podman.sock")},
	})
	if found, err := c.Discover(t.Context(), &checks.Env{}); err != nil || len(found) != 0 {
		t.Errorf("on a machine without containers: %v, %v", found, err)
	}
	run := func() error {
		_, err := c.Run(t.Context(), &checks.Env{})
		return err
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "there is no container engine on this machine") {
		t.Errorf("a run without an engine: %v", err)
	}
	listen(t, at("podman/podman.sock"), nil)
	if err := os.Symlink(at("podman/podman.sock"), at("docker.sock")); err != nil { // as podman-docker does
		t.Fatal(err)
	}
	listen(t, at("user/1000/podman/podman.sock"), nil)
	if err := os.MkdirAll(at("user/1001"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("user/1001/docker.sock"), nil, 0o600); err != nil { // a file is no socket
		t.Fatal(err)
	}
	found, err := c.Discover(t.Context(), &checks.Env{})
	if err != nil || len(found) != 2 {
		t.Fatalf("found %+v, %v", found, err)
	}
	for i, want := range []struct{ name, path string }{
		{"podman", at("podman/podman.sock")}, {"podman-1000", at("user/1000/podman/podman.sock")},
	} {
		if found[i].Name != want.name || found[i].Params.String("socket") != want.path {
			t.Errorf("found %+v, want %+v", found[i], want)
		}
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "there are several engines; name one of") {
		t.Errorf("a run with two engines and no socket: %v", err)
	}
}

// ask runs the check once against the engine at a socket.
func ask(t testing.TB, c checks.Check, last any, given checks.Params) checks.Run {
	t.Helper()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.Run(t.Context(), &checks.Env{Params: params, Last: last})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&run); err != nil {
		t.Fatal(err)
	}
	return run
}

// one is the result about an item.
func one(t testing.TB, run checks.Run, item string) checks.Result {
	t.Helper()
	for _, r := range run.Results {
		if r.Item == item {
			return r
		}
	}
	t.Fatalf("there is no result about %s: %+v", item, run.Results)
	return checks.Result{}
}

func TestEngineThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	broken := filepath.Join(dir, "broken.sock")
	listen(t, broken, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"the storage is locked"}`, http.StatusInternalServerError)
	}))
	long := filepath.Join(dir, "long.sock")
	listen(t, long, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodHead {
			return
		}
		for _, err := w.Write([]byte("[")); err == nil; _, err = w.Write([]byte(strings.Repeat(" ", 1<<20))) {
		}
	}))
	for socket, want := range map[string]string{
		filepath.Join(dir, "none.sock"): "no such file or directory",
		dead:                            "connection refused",
		broken:                          "the storage is locked",
		long:                            "an answer has more than 32 MiB",
	} {
		run := ask(t, New(), &sample{restarts: map[string]int{"1": 2}}, checks.Params{"socket": {socket}})
		r := one(t, run, engineItem)
		if r.Status != checks.Critical || !strings.Contains(r.Summary, want) || figuresOf(r, "up") != "up=0" {
			t.Errorf("%s: %+v, want %q", socket, r, want)
		}
		if run.Complete || len(run.Results) != 1 {
			t.Errorf("%s: of containers nothing is known, but the run is %+v", socket, run)
		}
		if s, ok := run.Sample.(*sample); !ok || s.restarts["1"] != 2 {
			t.Errorf("%s: what was known before is gone: %+v", socket, run.Sample)
		}
	}
}

// FuzzAnswers gives the check whatever an engine may answer: it must end, and what it
// says must be valid.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`[{"Id":"1","Names":["/web","/db/web"],"ImageID":"sha256:1"}]`),
		[]byte(`{"Id":"1","State":{"Status":"running","Running":true,"StartedAt":"2026-06-01T11:00:00Z","Health":{"Status":"unhealthy","Log":[null,{"Output":"no\n"}]}},"HostConfig":{"RestartPolicy":{"Name":"always"}},"RestartCount":-1}`),
		[]byte(`[{"Id":"sha256:1","Created":1}]`),
		[]byte(`{"Volumes":[{"Name":"v","UsageData":{"RefCount":0,"Size":1}},{"Name":"w"}]}`))
	f.Add([]byte(`[{},{"Id":"2"}]`), []byte(`{}`), []byte(`null`), []byte(`{"Volumes":null}`))
	f.Add([]byte(`[{"Id":"1","Names":["/`+strings.Repeat("x", 300)+`"]}]`), []byte(`{"State":{"Health":{}}}`), []byte(`{"message":"x"}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, list, inspect, images, usage []byte) {
		socket := filepath.Join(t.TempDir(), "s")
		listen(t, socket, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("API-Version", "1.41")
			answer := map[string][]byte{"/containers/json": list, "/images/json": images, "/system/df": usage}
			for path, body := range answer {
				if strings.HasSuffix(r.URL.Path, path) {
					_, _ = w.Write(body)
					return
				}
			}
			_, _ = w.Write(inspect)
		}))
		run := ask(t, New(), nil, checks.Params{"socket": {socket}})
		one(t, run, engineItem)
	})
}
