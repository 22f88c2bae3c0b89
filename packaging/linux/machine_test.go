package linux

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// included are the packages that the Debian of the tests has beyond the least: what
// every installed server has.
const included = "systemd-sysv,dbus"

// patience is how long is waited for what has to come.
const patience = 2 * time.Minute

// debian returns the folder of a Debian of this machine's release, made at the first
// use and kept in the user's cache.
func debian(t *testing.T) string {
	t.Helper()
	need(t, "debootstrap", "apt-get")
	if os.Geteuid() != 0 {
		t.Skip("only root can make a Debian and boot it")
	}
	mirror, suite := release(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256([]byte(included))
	dir := filepath.Join(cache, "wacht", "debian-"+suite+"-"+runtime.GOARCH+"-"+hex.EncodeToString(key[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "debian-*.part")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	if err := os.Chmod(part, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "debootstrap", "--variant=minbase", "--include="+included, suite, part, mirror)
	if err := os.Rename(part, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// release returns where this machine's packages come from, and its release.
func release(t *testing.T) (mirror, suite string) {
	t.Helper()
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			suite = name
		}
	}
	out := output(t, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Component: main")
	for line := range strings.Lines(out) {
		if uri, ok := strings.CutSuffix(strings.TrimSpace(line), " "+suite); ok {
			return uri, suite
		}
	}
	t.Fatalf("apt has no packages of %s: %s", suite, out)
	return "", ""
}

// machine is a booted Debian, without a network but its loopback.
type machine struct {
	t    *testing.T
	root string
	cmd  *exec.Cmd
	log  bytes.Buffer
	pid  string // of its first process
}

// boot starts a fresh machine, which ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	need(t, "systemd-nspawn", "nsenter", "mount")
	lower := debian(t)
	work := t.TempDir()
	m := &machine{t: t, root: filepath.Join(work, "root")}
	for _, dir := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "mount", "-t", "overlay", "overlay", m.root, "-o", fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, work, work))
	t.Cleanup(func() { output(t, "umount", m.root) })
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *machine) start() {
	m.t.Helper()
	m.cmd = exec.CommandContext(context.WithoutCancel(m.t.Context()), "systemd-nspawn", "--quiet", "--directory="+m.root, "--boot", "--register=no", "--keep-unit",
		"--private-network", "--console=pipe", "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self", "--bind-ro="+packages+":/packages", "--machine=wacht"+strconv.Itoa(os.Getpid()))
	m.log.Reset()
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.await("the machine having begun", func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.cmd.Process.Pid, m.cmd.Process.Pid))
		m.pid = strings.TrimSpace(string(children))
		if err != nil {
			m.t.Fatalf("the machine has ended: %v\n%s", m.cmd.Wait(), &m.log)
		}
		_, err = m.try("systemctl", "list-jobs")
		return m.pid != "" && err == nil
	})
	m.run("systemctl", "is-system-running", "--wait")
}

// stop shuts the machine down, as a power button does.
func (m *machine) stop() {
	if m.t.Failed() {
		journal, _ := m.try("journalctl", "--no-pager", "--lines=200")
		m.t.Logf("the machine's journal:\n%s", journal)
	}
	_, _ = m.try("systemctl", "--no-block", "poweroff")
	done := make(chan error, 1)
	go func() { done <- m.cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			m.t.Error(err)
		}
	case <-time.After(patience):
		m.t.Error("the machine does not shut down")
		_ = m.cmd.Process.Kill()
		<-done
	}
}

// try runs a program in the machine.
func (m *machine) try(args ...string) (string, error) {
	enter := append([]string{"--all", "--target", m.pid, "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, args...)
	out, err := exec.CommandContext(context.WithoutCancel(m.t.Context()), "nsenter", enter...).CombinedOutput()
	return string(out), err
}

// run is try for what has to succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// await asks again until the answer is yes.
func (m *machine) await(what string, done func() bool) {
	m.t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			m.t.Fatalf("%s does not come", what)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}

// has says whether there is a file.
func (m *machine) has(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

func (m *machine) read(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}
