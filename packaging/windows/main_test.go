package windows

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/collectortest"
)

func TestMain(m *testing.M) {
	if collectortest.Child() {
		return
	}
	os.Exit(m.Run())
}

// need skips the test where a program is missing, and names the package that has it.
func need(t *testing.T, pkg, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is missing: install Debian's package %s", program, pkg)
	}
}

func needBuild(t *testing.T) {
	t.Helper()
	need(t, "wixl", "wixl")
	need(t, "msitools", "msibuild")
}

// release is a build of the agent for Windows.
type release struct{ program, installer string }

// build makes a release of a version.
func build(t *testing.T, version string, env ...string) release {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "./build", dir)
	cmd.Env = append(os.Environ(), "VERSION="+version)
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	name := filepath.Join(dir, "wacht-agent_"+strings.TrimPrefix(version, "v")+"_windows_amd64")
	return release{name + ".exe", name + ".msi"}
}

// output is what a program of this machine writes, which has to succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// patience is how long a test waits for what has to come: longer than two waits of
// an agent between attempts to connect, which may be a minute each.
const patience = 3 * time.Minute

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// wine is a Windows of its own, played by Debian's Wine.
type wine struct {
	t    *testing.T
	root string // drive C
	env  []string
}

const (
	wineProgram = "/usr/lib/wine/wine64"
	wineServer  = "/usr/lib/wine/wineserver64"
)

func newWine(t *testing.T) *wine {
	t.Helper()
	need(t, "wine64", wineProgram)
	need(t, "binutils-mingw-w64-x86-64", "x86_64-w64-mingw32-ld")
	prefix := t.TempDir()
	w := &wine{t: t, root: filepath.Join(prefix, "drive_c")}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DISPLAY=") && !strings.HasPrefix(v, "WAYLAND") {
			w.env = append(w.env, v)
		}
	}
	// What Wine would ask for with windows of its own, .NET and a browser, is left out.
	w.env = append(w.env, "WINEPREFIX="+prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "HTTPS_PROXY=", "NO_PROXY=")
	t.Cleanup(func() {
		for _, arg := range []string{"-k", "-w"} {
			cmd := exec.CommandContext(context.WithoutCancel(t.Context()), wineServer, arg)
			cmd.Env = w.env
			_ = cmd.Run() // there is none where Wine did not start
		}
	})
	w.signIn()
	w.randomness(prefix)
	return w
}

// signIn starts a program that stays: Wine ends its services when nobody is there.
func (w *wine) signIn() {
	w.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(w.t.Context()), wineProgram, "cmd", "/c", "echo ready& pause")
	cmd.Env = w.env
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // however it ends
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		w.t.Fatalf("Wine says %q, %v", line, err)
	}
}

// randomness gives Wine before 9.0 the library that Go takes random bytes from: its
// one function is forwarded to its older name.
func (w *wine) randomness(dir string) {
	w.t.Helper()
	target := filepath.Join(w.root, "windows", "system32", "bcryptprimitives.dll")
	if _, err := os.Stat(target); err == nil {
		return
	}
	def := filepath.Join(dir, "random.def")
	if err := os.WriteFile(def, []byte("LIBRARY bcryptprimitives.dll\nEXPORTS\n  ProcessPrng = advapi32.SystemFunction036\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	object, exports := filepath.Join(dir, "random.o"), filepath.Join(dir, "random.exp")
	output(w.t, "x86_64-w64-mingw32-as", "-o", object, "/dev/null")
	output(w.t, "x86_64-w64-mingw32-dlltool", "-d", def, "-e", exports, "-D", "bcryptprimitives.dll")
	output(w.t, "x86_64-w64-mingw32-ld", "-shared", "-e", "0", "-o", target, object, exports)
}

// do runs a program in that Windows, and returns what it wrote and its exit code.
func (w *wine) do(args ...string) (string, int) {
	w.t.Helper()
	return w.command(append([]string{wineProgram}, args...)...)
}

// must is do for a program of this machine or of Windows that has to succeed.
func (w *wine) must(args ...string) string {
	w.t.Helper()
	out, code := w.command(args...)
	if code != 0 {
		w.t.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (w *wine) command(args ...string) (string, int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	// Programs that stay, such as Wine's server, inherit a file and hold up nobody.
	f, err := os.CreateTemp(w.t.TempDir(), "output-*")
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, f, f
	if _, err := os.Stat(w.root); err == nil {
		cmd.Dir = w.root
	}
	err = cmd.Run()
	out, readErr := os.ReadFile(f.Name())
	if readErr != nil || cmd.ProcessState == nil {
		w.t.Fatal(err, readErr)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n"), cmd.ProcessState.ExitCode()
}

// path is what Windows calls a file of this machine.
func path(file string) string { return "Z:" + strings.ReplaceAll(file, "/", `\`) }

// exists says whether there is a file on drive C.
func (w *wine) exists(file string) bool {
	_, err := os.Stat(filepath.Join(w.root, file))
	return err == nil
}

const agentProgram = `C:\Program Files\Wacht\wacht-agent.exe`

// agent runs a command of the installed agent, which has to succeed.
func (w *wine) agent(args ...string) string {
	w.t.Helper()
	return w.must(append([]string{wineProgram, agentProgram}, args...)...)
}

// install runs the installer with properties.
func (w *wine) install(r release, properties ...string) {
	w.t.Helper()
	if code := w.tryInstall(r, properties...); code != 0 {
		log, _ := os.ReadFile(filepath.Join(w.root, "install.log"))
		w.t.Fatalf("the installer ends with %d\n%s", code, log[max(0, len(log)-8000):])
	}
}

func (w *wine) tryInstall(r release, properties ...string) int {
	w.t.Helper()
	_ = os.Remove(filepath.Join(w.root, "install.log"))
	_, code := w.do(append([]string{"msiexec", "/i", path(r.installer), "/qn", "/l*v", `C:\install.log`}, properties...)...)
	return code
}

// windows10 is the version that Wine plays from now on.
func (w *wine) windows10() {
	w.t.Helper()
	w.must(wineProgram, "reg", "add", `HKCU\Software\Wine`, "/v", "Version", "/d", "win10", "/f")
}
