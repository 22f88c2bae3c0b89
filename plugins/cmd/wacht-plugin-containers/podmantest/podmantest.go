// Package podmantest runs Debian's Podman, so that tests look at real containers. They
// run on a machine without systemd, a network or a registry.
package podmantest

import (
	"archive/tar"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a command of Podman may take.
const patience = 2 * time.Minute

// Podman is Debian's Podman with a storage of its own, that answers at a socket. It
// needs no systemd, no network and no registry: its one image is made of busybox.
type Podman struct {
	t   testing.TB
	dir string
	// Socket is where it answers.
	Socket string
	served *exec.Cmd
}

const image = "localhost/busybox:1"

// Start makes one for the time of the test, which skips where it can't be had.
func Start(t testing.TB) *Podman {
	t.Helper()
	for program, pack := range map[string]string{"podman": "podman", "runc": "runc", "/bin/busybox": "busybox-static"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian: apt-get install %s)", program, pack)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("containers are made as root")
	}
	// Sockets have short names, and a test's folder a long one.
	dir, err := os.MkdirTemp("", "wacht-podman-")
	if err != nil {
		t.Fatal(err)
	}
	p := &Podman{t: t, dir: dir, Socket: filepath.Join(dir, "podman.sock")}
	t.Cleanup(p.remove)
	p.Do("import", p.rootfs(), image)
	p.Serve()
	return p
}

func (p *Podman) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "podman", append([]string{
		"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc",
	}, args...)...)
}

// Attempt runs podman and says how it went.
func (p *Podman) Attempt(args ...string) (string, error) {
	// The test's context would end before its clean-up runs.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), patience)
	defer cancel()
	out, err := p.command(ctx, args...).CombinedOutput()
	return string(out), err
}

// Do is Attempt for what has to succeed.
func (p *Podman) Do(args ...string) {
	p.t.Helper()
	if out, err := p.Attempt(args...); err != nil {
		p.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Run starts a container; what runs in it is a line for its shell.
func (p *Podman) Run(name, script string, options ...string) {
	p.t.Helper()
	args := append([]string{
		"run", "--detach", "--name", name, "--network", "none", "--log-driver", "none",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
	}, options...)
	p.Do(append(args, image, "/bin/sh", "-c", script)...)
}

// rootfs packs busybox as the root of an image.
func (p *Podman) rootfs() string {
	p.t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		p.t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, data []byte) {
		h.Size, h.Mode = int64(len(data)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			p.t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			p.t.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/", Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg}, busybox)
	for _, name := range []string{"sh", "sleep", "dd", "test", "true"} {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	if err := w.Close(); err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.dir, "rootfs.tar")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// Serve starts the engine and waits until it listens.
func (p *Podman) Serve() {
	p.t.Helper()
	cmd := p.command(context.WithoutCancel(p.t.Context()), "system", "service", "--time", "0", "unix://"+p.Socket)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.served = cmd
	p.listens()
}

func (p *Podman) listens() {
	p.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); ; {
		var d net.Dialer
		conn, err := d.DialContext(context.WithoutCancel(p.t.Context()), "unix", p.Socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			p.t.Fatalf("Podman does not listen: %v", err)
		}
	}
}

// Stop ends the engine as a crash does. The containers go on.
func (p *Podman) Stop() {
	if p.served == nil {
		return
	}
	_ = p.served.Process.Kill()
	_ = p.served.Wait()
	p.served = nil
}

func (p *Podman) remove() {
	p.Stop()
	for _, args := range [][]string{{"rm", "--all", "--force", "--time", "0"}, {"volume", "rm", "--all", "--force"}} {
		if out, err := p.Attempt(args...); err != nil {
			p.t.Logf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Log(err)
	}
}
