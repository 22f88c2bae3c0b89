package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/checks/smart"
	"github.com/wacht-io/wacht/checks/smart/drives"
)

// TestMain lets this program be the helper, and one who asks it, under their names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "wacht-smart-helper":
		main()
	case "ask":
		fmt.Print(ask(os.Args[1], os.Args[2]+"\n"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// ask sends something to a socket and returns what comes back.
func ask(socket, request string) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, request)
	data, err := io.ReadAll(conn)
	if len(data) == 0 && err != nil {
		return err.Error()
	}
	return string(data)
}

// as makes this program known under one of the names above, in a folder that only
// root can write to and everybody can enter.
func as(t *testing.T, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// rootDir is a folder that only root can write to, so that root runs programs there.
func rootDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: the helper runs as root")
	}
	dir, err := os.MkdirTemp("/var/lib", "wacht-smart-helper-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// recordings is where the smart check keeps what smartctl wrote of real and emulated drives.
const recordings = "../../../checks/smart/testdata/recorded"

// fakeSmartctl is a program that answers as smartctl did on the recorded machine.
func fakeSmartctl(t *testing.T, dir string) string {
	t.Helper()
	var script strings.Builder
	script.WriteString("#!/bin/sh\nfor last; do :; done\ncase $1 in --scan-open) last=scan;; esac\ncase $last in\n")
	for device, file := range map[string]string{
		"scan": "scan-open", "/dev/sda": "ata", "/dev/sdb": "ata-ssd", "/dev/sdc": "scsi-without-smart",
		"/dev/nvme0": "nvme", "/dev/nvme1": "nvme-degraded",
	} {
		data, err := os.ReadFile(filepath.Join(recordings, file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Smartctl struct {
				ExitStatus int `json:"exit_status"`
			} `json:"smartctl"`
		}
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file+".json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "%s) cat %s; exit %d;;\n", device, filepath.Join(dir, file+".json"), r.Smartctl.ExitStatus)
	}
	path := filepath.Join(dir, "smartctl")
	if err := os.WriteFile(path, []byte(script.String()+"*) exit 2;;\nesac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// check runs the smart check with parameters of the machine's own file.
func check(t *testing.T, params checks.Params) checks.Run {
	t.Helper()
	c := smart.New()
	full, err := c.Spec().Params(params)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.Run(t.Context(), &checks.Env{Params: full, Sandbox: sandbox.New(sandbox.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestActivation: systemd's own program passes the socket, the first caller starts the
// helper, the check sees through it what smartctl itself tells, others are refused, and
// the helper ends by itself.
func TestActivation(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed (Debian: apt-get install systemd)")
	}
	dir := rootDir(t)
	socket := filepath.Join(dir, "smart.sock")
	smartctl := fakeSmartctl(t, dir)
	const nobody = 65534
	var log strings.Builder
	cmd := exec.CommandContext(t.Context(), activate, "--listen="+socket, as(t, dir, "wacht-smart-helper"),
		"--user=1234", "--group=65533", "--idle=2s", "--smartctl="+smartctl)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !drives.Listens(socket) {
		select {
		case err := <-ended:
			t.Fatalf("systemd-socket-activate: %v\n%s", err, log.String())
		default:
		}
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}

	through, direct := check(t, checks.Params{"helper": {socket}}), check(t, checks.Params{"smartctl": {smartctl}})
	if len(through.Results) != 4 || !through.Complete || fmt.Sprint(through.Results) != fmt.Sprint(direct.Results) {
		t.Errorf("through the helper:\n%v\nby smartctl itself:\n%v", through.Results, direct.Results)
	}
	asker := as(t, dir, "ask")
	for _, tt := range []struct {
		uid, gid uint32
		want     string
	}{
		{1234, nobody, `"generation"`},  // the agent's user
		{nobody, 65533, `"generation"`}, // its group
		{nobody, nobody, `"code":"refused","error":"user 65534 of group 65534 may not ask, only root, user 1234 and group 65533"`},
	} {
		other := exec.CommandContext(t.Context(), asker, socket, "list")
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.gid}}
		out, err := other.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("user %d of group %d: %s, %v", tt.uid, tt.gid, out, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}
	if !strings.Contains(log.String(), `msg="refused a request"`) {
		t.Errorf("the log lacks the refusal:\n%s", log.String())
	}
}

func TestCommandLine(t *testing.T) {
	t.Setenv("LISTEN_PID", "")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "systemctl enable --now wacht-smart-helper.socket"},
		{[]string{"--user=0", "--group=0"}, 1, "no socket was passed; it is started by its socket: systemctl enable --now"},
		{[]string{"--user=no-such-user"}, 1, "finding the agent's user (--user): user: unknown user no-such-user"},
		{[]string{"--user=0", "--group=no-such-group"}, 1, "finding the agent's group (--group): group: unknown group no-such-group"},
		{[]string{"--user=-1"}, 1, "unknown user -1"},
		{[]string{"/dev/sda"}, 2, "takes no arguments"},
		{[]string{"--idle=0s"}, 2, "--idle must be more than 0"},
		{[]string{"--path=/dev/sda"}, 2, "flag provided but not defined: -path"},
	} {
		var stdout, stderr strings.Builder
		code := Main(t.Context(), tt.args, &stdout, &stderr)
		if out := stdout.String() + stderr.String(); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%q exits with %d: %s", tt.args, code, out)
		}
		if tt.code == 0 && stderr.Len() > 0 {
			t.Errorf("%q writes to standard error: %s", tt.args, stderr.String())
		}
	}
}

// units is where the files for systemd are.
const units = "../../../packaging/systemd"

// TestUnits: systemd's own judgement of the hardening, and that unit and programs
// agree on where the socket is.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	service := filepath.Join(units, "wacht-smart-helper.service")
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", service).CombinedOutput()
	if err != nil {
		t.Errorf("the service is exposed by more than 2.0: %v\n%s", err, out)
	}
	socket, err := os.ReadFile(filepath.Join(units, "wacht-smart-helper.socket"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(socket), "\nListenStream="+drives.Socket+"\n") {
		t.Errorf("the socket unit does not listen at %s", drives.Socket)
	}
}

// The helper runs as root: what it is linked with is chosen here.
func TestDependencies(t *testing.T) {
	allowed := []string{
		"github.com/wacht-io/wacht", // checks, checks/sandbox, checks/smart/drives
		"go.yaml.in/yaml/v3",        // checks
		"golang.org/x/sys",          // credentials of the caller, limits of the sandbox
	}
	ours := []string{"agent/cmd/wacht-smart-helper", "checks", "checks/sandbox", "checks/smart/drives"}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{end}}{{.ImportPath}}", ".")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, string(errOut(err)))
	}
	for line := range strings.Lines(string(out)) {
		module, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case !ok:
			if slices.Contains([]string{"net/http", "crypto/tls", "plugin"}, line) {
				t.Errorf("the helper is linked with %s", line)
			}
		case !slices.Contains(allowed, module):
			t.Errorf("the helper is linked with %s (%s), which is not in the list", module, path)
		case module == allowed[0] && !slices.Contains(ours, strings.TrimPrefix(path, module+"/")):
			t.Errorf("the helper is linked with %s, which is not in the list", path)
		}
	}
}

func errOut(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}
