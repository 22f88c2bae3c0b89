// Package unboundtest starts Debian's unbound for tests of checks that resolve names.
package unboundtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// Path is where Debian has it.
const Path = "/usr/sbin/unbound"

// Server is an unbound that runs.
type Server struct {
	Addr netip.AddrPort
	cmd  *exec.Cmd
}

// Options say how it is started.
type Options struct {
	// Addr is where it listens; the zero value is a free port of 127.0.0.1.
	Addr netip.AddrPort
	// Server and Zones are more of its configuration: lines of the section server, and
	// sections after it.
	Server, Zones string
	// Files are put beside the configuration, by name.
	Files map[string]string
	// Before is a command with its arguments that starts the program, such as nsenter.
	Before []string
}

// Start starts an unbound that ends with the test. It answers when Start returns.
func Start(t *testing.T, opts Options) *Server {
	t.Helper()
	if _, err := os.Stat(Path); err != nil {
		t.Skip("unbound is not installed (Debian: apt-get install unbound)")
	}
	if !opts.Addr.IsValid() {
		opts.Addr = free(t)
	}
	dir := t.TempDir()
	conf := fmt.Sprintf(`server:
  interface: %[1]s
  port: %[2]d
  directory: %[3]q
  chroot: ""
  username: ""
  pidfile: ""
  logfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: iterator
  access-control: 0.0.0.0/0 allow
  num-threads: 1
%[4]s
%[5]s
remote-control:
  control-enable: no
`, opts.Addr.Addr(), opts.Addr.Port(), dir, opts.Server, opts.Zones)
	write(t, filepath.Join(dir, "unbound.conf"), conf)
	for name, text := range opts.Files {
		write(t, filepath.Join(dir, name), text)
	}
	s := &Server{Addr: opts.Addr}
	args := slices.Concat(opts.Before, []string{Path, "-d", "-p", "-c", filepath.Join(dir, "unbound.conf")})
	s.run(t, args)
	return s
}

func (s *Server) run(t *testing.T, args []string) {
	t.Helper()
	var log bytes.Buffer
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...) // it ends in the clean-up
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("unbound at %s wrote:\n%s", s.Addr, log.String())
		}
	})
	s.await(t)
}

// await asks it, until it answers, who it is.
func (s *Server) await(t *testing.T) {
	t.Helper()
	who := new(mdns.Msg).SetQuestion("version.bind.", mdns.TypeTXT)
	who.Question[0].Qclass = mdns.ClassCHAOS
	client := mdns.Client{Timeout: 200 * time.Millisecond}
	for range 150 {
		if _, _, err := client.ExchangeContext(t.Context(), who, s.Addr.String()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("unbound at %s does not answer", s.Addr)
}

// Stop ends it.
func (s *Server) Stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // it says that it was killed
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// free is an address that nobody listens at now, by UDP nor by TCP.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 20 {
		if addr, ok := tryPort(t); ok {
			return addr
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

func tryPort(t *testing.T) (netip.AddrPort, bool) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", l.Addr().String())
	if err != nil {
		return netip.AddrPort{}, false
	}
	defer p.Close()
	return netip.MustParseAddrPort(l.Addr().String()), true
}
