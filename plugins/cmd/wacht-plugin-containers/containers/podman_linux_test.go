package containers

import (
	"context"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/plugins/cmd/wacht-plugin-containers/podmantest"
	"github.com/wacht-io/wacht/plugins/host"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

// patience is how long a test waits for what has to come.
const patience = 2 * time.Minute

// podman is a Podman that the check looks at.
type podman struct {
	*podmantest.Podman

	t *testing.T
}

func startPodman(t *testing.T) *podman {
	t.Helper()
	return &podman{podmantest.Start(t), t}
}

func (p *podman) await(what string, so func() bool) {
	p.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			p.t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// look runs the check once.
func (p *podman) look(last any, given checks.Params) checks.Run {
	p.t.Helper()
	all := checks.Params{"socket": {p.Socket}}
	maps.Copy(all, given)
	return ask(p.t, New(), last, all)
}

// holds demands figures of an item, and waits for them.
func (p *podman) holds(item, figures, summary string) {
	p.t.Helper()
	var names []string
	for pair := range strings.FieldsSeq(figures) {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	var r checks.Result
	deadline := time.Now().Add(patience)
	for {
		r = one(p.t, p.look(nil, nil), item)
		got := figuresOf(r, strings.Join(names, " "))
		if got == figures && strings.Contains(r.Summary, summary) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("%s: got %s, %q; want %s, %q", item, got, r.Summary, figures, summary)
			return
		}
	}
}

// TestPodman shows the check every fate that a container can have.
func TestPodman(t *testing.T) {
	p := startPodman(t)
	const lives = "exec sleep 1000"
	p.Run("web", lives, "--restart", "always", "--volume", "data:/data", "--health-cmd", "/bin/test -d /tmp", "--health-retries", "1")
	p.Do("healthcheck", "run", "web")
	p.holds("web", "running=1 expected=1 restarting=0 healthy=1 exit_code=- restarts_total=0", "healthy")
	p.Run("job", "true")
	p.holds("job", "running=0 expected=0 exit_code=0", "exited with code 0")
	p.Run("failed", "exit 3")
	p.holds("failed", "running=0 expected=0 exit_code=3", "exited with code 3")

	t.Run("image", func(t *testing.T) {
		r := one(t, p.look(nil, nil), "web")
		if age, ok := value(r, "image_age_seconds"); !ok || age < 0 || age > patience.Seconds()*10 {
			t.Errorf("the image was made a moment ago, but its age is %v, %v", age, ok)
		}
		later := New().(*check)
		later.now = func() time.Time { return time.Now().Add(181 * 24 * time.Hour) }
		r = one(t, ask(t, later, nil, checks.Params{"socket": {p.Socket}}), "web")
		if age, _ := value(r, "image_age_seconds"); age <= 180*86400 {
			t.Errorf("after half a year its age is %v", age)
		}
	})
	t.Run("unhealthy", func(t *testing.T) {
		p.Run("sick", lives, "--health-cmd", "echo the queue is stuck; exit 1", "--health-retries", "1")
		if out, err := p.Attempt("healthcheck", "run", "sick"); err == nil {
			t.Errorf("the health check is content: %s", out)
		}
		p.holds("sick", "running=1 healthy=0", "unhealthy")
		if r := one(t, p.look(nil, nil), "sick"); !strings.Contains(r.Evidence, "the queue is stuck") {
			t.Errorf("what the health check said is not shown: %+v", r)
		}
		p.Do("rm", "--force", "--time", "0", "sick")
	})
	t.Run("stopped", func(t *testing.T) {
		p.Run("stopped", lives, "--restart", "unless-stopped")
		p.holds("stopped", "running=1 expected=1", "running for")
		p.Do("stop", "--time", "0", "stopped")
		p.holds("stopped", "running=0 expected=1 restarting=0 exit_code=137", "should run: its restart policy is unless-stopped")
	})
	t.Run("restart loop", func(t *testing.T) {
		p.Run("loop", "exit 1", "--restart", "always")
		before := p.look(nil, nil)
		counted, _ := value(one(t, before, "loop"), "restarts_total")
		p.await("restarts that are noticed", func() bool {
			r := one(t, p.look(before.Sample, nil), "loop")
			n, _ := value(r, "restarts_total")
			return n > counted && figuresOf(r, "expected restarting") == "expected=1 restarting=1"
		})
		p.Do("rm", "--force", "--time", "0", "loop")
	})
	t.Run("paused", func(t *testing.T) {
		p.Do("pause", "web")
		p.holds("web", "running=1 paused=1", "paused")
		p.Do("unpause", "web")
		p.holds("web", "running=1 paused=0", "running")
	})
	t.Run("volumes", func(t *testing.T) {
		p.Do("volume", "create", "spare")
		p.Do("exec", "web", "/bin/dd", "if=/bin/busybox", "of=/data/file", "bs=1024", "count=1000")
		p.holds(engineItem, "up=1 volumes=2 volumes_unused=1 volumes_bytes=1024000 volumes_unused_bytes=0 volume_size_bytes=1024000", "2 volumes, 1 of them unused")
		first := p.look(nil, nil)
		p.Do("volume", "rm", "spare")
		if got := figuresOf(one(t, p.look(first.Sample, nil), engineItem), "volumes"); got != "volumes=2" {
			t.Errorf("volumes were measured again before it was time: %s", got)
		}
		later := New().(*check)
		later.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		if got := figuresOf(one(t, ask(t, later, first.Sample, checks.Params{"socket": {p.Socket}}), engineItem), "volumes"); got != "volumes=1" {
			t.Errorf("volumes were not measured again when it was time: %s", got)
		}
	})
	t.Run("chosen", func(t *testing.T) {
		run := p.look(nil, checks.Params{"include": {"web", "j*", "gone"}, "exclude": {"job"}})
		if !run.Complete || len(run.Results) != 3 {
			t.Errorf("%+v", run)
		}
		if got := figuresOf(one(t, run, "gone"), "running expected"); got != "running=0 expected=1" {
			t.Errorf("a container that include names and that is not there: %s", got)
		}
	})
	t.Run("removed", func(t *testing.T) {
		p.Do("rm", "job")
		run := p.look(nil, nil)
		for _, r := range run.Results {
			if r.Item == "job" || !run.Complete {
				t.Errorf("complete %v: %+v", run.Complete, r)
			}
		}
	})
	t.Run("engine gone", func(t *testing.T) {
		before := p.look(nil, nil)
		p.Stop()
		run := p.look(before.Sample, nil)
		if r := one(t, run, engineItem); r.Status != checks.Critical || figuresOf(r, "up") != "up=0" || run.Complete || len(run.Results) != 1 {
			t.Errorf("%+v", run)
		}
		p.Serve()
		p.holds("web", "running=1 expected=1", "running")
	})
}

// TestOutOfMemory: the kernel ends a container that wants more memory than it may
// have. Docker and newer versions of Podman say so; one that does not shows its code.
func TestOutOfMemory(t *testing.T) {
	p := startPodman(t)
	p.Run("greedy", "x=a; while true; do x=$x$x; done", "--memory", "16m", "--memory-swap", "16m")
	p.holds("greedy", "running=0 exit_code=137", "exited with code 137")
}

// asRoot starts the check as a plugin that may open the engine's socket.
func asRoot(t *testing.T) checks.Check {
	t.Helper()
	self := plugintest.Self(t, "containers")
	self.User = "root"
	return plugintest.Host(t, host.Options{Plugins: []host.Plugin{self}}).Checks()[0]
}

// TestConformance puts the check through the suite of all checks, as the agent runs it:
// in a process of its own, against a real engine.
func TestConformance(t *testing.T) {
	p := startPodman(t)
	p.Run("web", "exec sleep 1000")
	checktest.Run(t, asRoot(t), checktest.Options{
		Params:  checks.Params{"socket": {p.Socket}},
		Hanging: hangs,
	})
}

// TestWithoutPermission: a plugin that the machine's file gives no user may not open
// what only root may, and says what to do.
func TestWithoutPermission(t *testing.T) {
	p := startPodman(t)
	run := ask(t, plugintest.Start(t, "containers"), nil, checks.Params{"socket": {p.Socket}})
	if r := one(t, run, engineItem); r.Status != checks.Unknown || !strings.Contains(r.Summary, "let this plugin run as a user who may") {
		t.Errorf("%+v", r)
	}
}

// hangs is an engine that takes a connection and never answers.
func hangs(t *testing.T) (checks.Params, <-chan struct{}) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	hanging, done := make(chan struct{}, 64), make(chan struct{})
	go func() {
		defer close(done)
		var taken []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			taken = append(taken, conn)
			hanging <- struct{}{}
		}
		for _, conn := range taken {
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return checks.Params{"socket": {path}}, hanging
}

// TestEngineThatHangs: it is told of before the deadline.
func TestEngineThatHangs(t *testing.T) {
	params, _ := hangs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	full, err := New().Spec().Params(params)
	if err != nil {
		t.Fatal(err)
	}
	run, err := New().Run(ctx, &checks.Env{Params: full})
	if err != nil {
		t.Fatal(err)
	}
	if r := one(t, run, engineItem); r.Status != checks.Critical || !strings.Contains(r.Summary, "timed out") {
		t.Errorf("%+v", r)
	}
}
