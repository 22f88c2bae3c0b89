package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks/sandbox"
)

// stranger is a user that owns nothing, of this process's own: its processes are counted.
var stranger = &sandbox.User{UID: 61000 + uint32(os.Getpid()%4000), GID: 60777}

// service starts a script in a folder of its own, and answers it with its output.
func service(t *testing.T, script string, change func(*sandbox.ServiceOptions)) (*sandbox.Service, *bytes.Buffer) {
	t.Helper()
	dir := rootDir(t)
	must(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "program")
	text := []byte("#!/bin/sh\n" + script + "\n")
	must(t, os.WriteFile(path, text, 0o755))
	out := &bytes.Buffer{}
	opts := sandbox.ServiceOptions{
		SHA256: sha256.Sum256(text), Dir: t.TempDir(), MaxMemory: 256 << 20, MaxProcesses: 20, Stdout: out, Stderr: out,
	}
	if change != nil {
		change(&opts)
	}
	if opts.User != nil {
		must(t, os.Chown(opts.Dir, int(opts.User.UID), -1))
	}
	s, err := sandbox.StartService(t.Context(), path, opts)
	must(t, err)
	t.Cleanup(s.Kill)
	return s, out
}

// output runs a script to its end.
func output(t *testing.T, script string, change func(*sandbox.ServiceOptions)) string {
	t.Helper()
	s, out := service(t, script, change)
	<-s.Done()
	return strings.TrimSpace(out.String())
}

func TestServiceIsConfined(t *testing.T) {
	secret := filepath.Join(rootDir(t), "key")
	must(t, os.Chmod(filepath.Dir(secret), 0o755))
	must(t, os.WriteFile(secret, []byte("private"), 0o644))
	hide := func(o *sandbox.ServiceOptions) { o.Hidden = []string{filepath.Dir(secret), "/no/such/folder"} }
	strangely := func(o *sandbox.ServiceOptions) { hide(o); o.User = stranger }
	for name, tt := range map[string]struct {
		script, want string
		change       func(*sandbox.ServiceOptions)
	}{
		"reads what is hidden":            {"cat " + secret + " 2>/dev/null || echo no", "no", hide},
		"reads what is hidden, by proc":   {"cat /proc/self/root" + secret + " 2>/dev/null || echo no", "no", hide},
		"reads what is beside":            {"head -c 4 /etc/hostname >/dev/null && echo yes", "yes", hide},
		"writes elsewhere":                {"echo x 2>/dev/null >/tmp/wacht-elsewhere || echo no", "no", hide},
		"writes in its own folder":        {"echo yes >file; cat file", "yes", hide},
		"writes as another user":          {"echo yes >file; cat file", "yes", strangely},
		"is another user":                 {"id -u; id -g; id -G", fmt.Sprintf("%d\n60777\n60777", stranger.UID), strangely},
		"keeps its user by set-user-id":   {"grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1", strangely},
		"has a process number of its own": {"echo $$", "1", nil},
		"is first to go without memory":   {"until grep -q 800 /proc/self/oom_score_adj; do :; done", "", strangely},
		"has little priority":             {"nice", "19", nil},
		"has the environment given": {"env | grep -v ^PWD | sort", "LANG=C\nLC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nX=y", func(o *sandbox.ServiceOptions) {
			o.Env = []string{"X=y"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := output(t, tt.script, tt.change); got != tt.want {
				t.Errorf("got %q, not %q", got, tt.want)
			}
		})
	}
}

// The limits come a moment after the start.
func TestServiceIsBounded(t *testing.T) {
	const await = "while [ $(ulimit -c) != 0 ] || [ $(ulimit -n) != 1024 ]; do :; done; "
	strangely := func(o *sandbox.ServiceOptions) { o.User = stranger }
	got := output(t, await+"ulimit -d; ulimit -u 2>/dev/null || ulimit -p", strangely)
	if got != "262144\n20" {
		t.Errorf("memory and processes are limited to %q", got)
	}
	const bomb = await + `b() { b | b & }; b 2>/dev/null; sleep 1; n=0; for p in /proc/[0-9]*; do [ -O $p ] && n=$((n+1)); done; echo $n`
	s, _ := service(t, bomb, strangely)
	s.Kill()
	if n := processesOf(t, int(stranger.UID)); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// processesOf counts a user's processes.
func processesOf(t *testing.T, uid int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	n := 0
	for _, e := range entries {
		var st unix.Stat_t
		if _, err := strconv.Atoi(e.Name()); err == nil && unix.Stat("/proc/"+e.Name(), &st) == nil && int(st.Uid) == uid {
			n++
		}
	}
	return n
}

func TestServiceEndsWithWhatItStarted(t *testing.T) {
	s, _ := service(t, "setsid sleep 1000 & sleep 1000 & sleep 1000", func(o *sandbox.ServiceOptions) { o.User = stranger })
	for processesOf(t, int(stranger.UID)) < 4 {
		select {
		case <-s.Done():
			t.Fatalf("it ended: %v", s.Err())
		default:
		}
	}
	s.Kill()
	if n := processesOf(t, int(stranger.UID)); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestServiceEndsWithItsContext(t *testing.T) {
	path, sum := script(t, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sandbox.StartService(ctx, path, sandbox.ServiceOptions{SHA256: sum, Dir: t.TempDir()})
	must(t, err)
	cancel()
	<-s.Done()
	if s.Err() == nil {
		t.Error("a program that was killed is said to have ended well")
	}
}

func script(t *testing.T, text string) (path string, sum [sha256.Size]byte) {
	t.Helper()
	path = filepath.Join(rootDir(t), "program")
	data := []byte("#!/bin/sh\n" + text + "\n")
	must(t, os.WriteFile(path, data, 0o755))
	return path, sha256.Sum256(data)
}

// What was verified runs, whatever happens to the file.
func TestServiceRunsWhatWasVerified(t *testing.T) {
	path, sum := script(t, "echo $0; read line; cat $0")
	out := &bytes.Buffer{}
	s, err := sandbox.StartService(t.Context(), path, sandbox.ServiceOptions{SHA256: sum, Dir: t.TempDir(), Stdout: out})
	must(t, err)
	must(t, os.WriteFile(path, []byte("#!/bin/sh\necho other\n"), 0o755))
	<-s.Done()
	if got := out.String(); !strings.Contains(got, "read line") || strings.Contains(got, "other") {
		t.Errorf("got %q", got)
	}
	_, err = sandbox.StartService(t.Context(), path, sandbox.ServiceOptions{SHA256: sum, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "its SHA-256 is ") {
		t.Errorf("the other program must be refused, but: %v", err)
	}
}

// A group that this process was given has one for the process itself and one for each
// program, where all that the program started ends with it.
func TestControlGroup(t *testing.T) {
	root, err := sandbox.ControlGroups()
	if err != nil || os.Geteuid() != 0 {
		t.Skip("not root, or no second version of control groups")
	}
	dir, err := os.MkdirTemp(root, "wacht-test-")
	must(t, err)
	back := ownGroup(t, root)
	t.Cleanup(func() {
		must(t, os.WriteFile(back, []byte(strconv.Itoa(os.Getpid())), 0))
		must(t, os.Remove(dir+"/agent"))
		must(t, os.Remove(dir))
	})
	group, err := sandbox.Delegated(dir)
	must(t, err)
	if own := ownGroup(t, root); own != dir+"/agent/cgroup.procs" {
		t.Errorf("this process is in %s", own)
	}
	s, _ := service(t, "setsid sleep 1000 & sleep 1000", func(o *sandbox.ServiceOptions) { o.Group = group })
	groups, err := filepath.Glob(dir + "/plugin-*/cgroup.procs")
	must(t, err)
	if len(groups) != 1 {
		t.Fatalf("there are groups %q", groups)
	}
	data, err := os.ReadFile(groups[0])
	must(t, err)
	if len(strings.Fields(string(data))) == 0 {
		t.Error("nobody is in the program's group")
	}
	s.Kill()
	if left, _ := filepath.Glob(dir + "/plugin-*"); len(left) > 0 {
		t.Errorf("groups are left: %q", left)
	}
}

// ownGroup is where a process is put to be in the group that this one is in.
func ownGroup(t *testing.T, root string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	_, path, _ := strings.Cut(string(data), "0::")
	path, _, _ = strings.Cut(path, "\n")
	return filepath.Join(root, path, "cgroup.procs")
}

func TestControlGroupLimits(t *testing.T) {
	got := sandbox.Limits(&sandbox.ServiceOptions{MaxMemory: 1 << 20, MaxProcesses: 7, MaxCPU: time.Minute})
	want := map[string]string{
		"memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7", "cpu.max": "100000 100000",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the limits are %v", got)
	}
	if got := sandbox.Limits(&sandbox.ServiceOptions{}); len(got) > 0 {
		t.Errorf("limits without bounds are %v", got)
	}
}
