package internet

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/internal/unboundtest"
)

// The tests run in a network namespace of their own, with a mount namespace for a
// resolv.conf of their own. A second one is the gateway and the internet beyond it.
const (
	roleVariable = "WACHT_INTERNET_TEST"
	inNamespace  = "inside"
	asPeer       = "peer"
	peerFolder   = "WACHT_INTERNET_FOLDER" // with the certificates and the mode
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case inNamespace:
		os.Exit(m.Run())
	case asPeer:
		if err := peer(os.Getenv(peerFolder)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	cmd := again(inNamespace, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(e.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests of internet need namespaces of their own (root, or user namespaces allowed):", err)
		os.Exit(1)
	}
}

// again is this program in fresh namespaces.
func again(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GODEBUG=netdns=go")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// sh runs a script of ip, nft and mount commands (Debian: iproute2, nftables).
func sh(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// How the peer behaves.
const (
	modeGood   = "good"
	modeWrong  = "wrong"  // another page than the expected one
	modeStatus = "status" // an error of the server
	modeOther  = "other"  // a certificate of another name
	modePortal = "portal" // a captive portal in the place of everybody
	modeHang   = "hang"   // takes the connection in and never answers
	modeDrip   = "drip"   // one byte a second
)

// peer is the gateway with the web servers behind it, until its input ends.
func peer(folder string) error {
	mode := func() string {
		data, _ := os.ReadFile(filepath.Join(folder, "mode"))
		return string(data)
	}
	load := func(name string) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key"))
		return &c, err
	}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if m := mode(); m == modeOther || m == modePortal {
			return load("portal")
		}
		return load("provider")
	}}
	pages := nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch m := mode(); {
		case m == modePortal:
			nethttp.Redirect(w, r, "http://10.9.0.1/login", nethttp.StatusFound)
		case r.TLS == nil, m == modeGood:
			fmt.Fprintln(w, "<html>All is well</html>")
		case m == modeWrong:
			fmt.Fprintln(w, "<html>This domain is for sale</html>")
		case m == modeStatus:
			nethttp.Error(w, "broken", nethttp.StatusBadGateway)
		case m == modeHang:
			<-r.Context().Done()
		case m == modeDrip:
			for r.Context().Err() == nil {
				fmt.Fprint(w, "A")
				nethttp.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		}
	})
	secure, err := tls.Listen("tcp", ":443", config)
	if err != nil {
		return err
	}
	open, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	for _, l := range []net.Listener{secure, open} {
		server := &nethttp.Server{Handler: pages, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
		go server.Serve(l)
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

// certificates writes an authority of the test's own and what it has signed.
func certificates(t *testing.T, folder string) (authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	sign := func(name string, template *x509.Certificate, own *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, template, root, own.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, name+".pem")
		write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, filepath.Join(folder, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
		return path
	}
	for name, hosts := range map[string][]string{"provider": {"one.test", "two.test"}, "portal": {"portal.test"}} {
		sign(name, &x509.Certificate{
			SerialNumber: big.NewInt(2), DNSNames: hosts, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, key)
	}
	return sign("authority", root, key)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// world is this machine's network, with what is beyond it.
type world struct {
	t         *testing.T
	folder    string
	authority string
	pid       string
	resolver  *unboundtest.Server
}

// newWorld makes a machine at a gateway, behind which are two providers, one.test and
// two.test, and open.test without encryption; the gateway resolves their names.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir()}
	w.authority = certificates(t, w.folder)
	w.mode(modeGood)
	cmd := again(asPeer)
	cmd.Env = append(cmd.Env, peerFolder+"="+w.folder)
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the peer says %q, %v", line, err)
	}
	w.pid = strconv.Itoa(cmd.Process.Pid)
	sh(t, "ip link set lo up; ip link add near type veth peer name far; ip link set far netns "+w.pid)
	t.Cleanup(func() { sh(t, "ip link del near 2>/dev/null || true") })
	w.there("ip link set lo up; ip addr add 10.9.0.1/24 dev far; ip link set far up; " +
		"for n in 1 2 3; do ip addr add 203.0.113.$n/32 dev lo; done")
	w.join()
	w.resolver = unboundtest.Start(t, unboundtest.Options{
		Addr: netip.MustParseAddrPort("10.9.0.1:53"), Before: []string{"nsenter", "--net=/proc/" + w.pid + "/ns/net"},
		Server: `  local-zone: "test." static
  local-data: "one.test. A 203.0.113.1"
  local-data: "two.test. A 203.0.113.2"
  local-data: "open.test. A 203.0.113.3"
`,
	})
	conf := filepath.Join(w.folder, "resolv.conf")
	write(t, conf, "nameserver 10.9.0.1\noptions timeout:1 attempts:1\n")
	sh(t, "mount --make-rprivate /; mount --bind "+conf+" /etc/resolv.conf")
	t.Cleanup(func() { sh(t, "umount /etc/resolv.conf") })
	return w
}

// join brings this machine's side up.
func (w *world) join() {
	w.t.Helper()
	sh(w.t, "ip addr replace 10.9.0.2/24 dev near; ip link set near up; ip route replace default via 10.9.0.1")
	w.carrier(true)
}

// carrier waits until the kernel tells that the link has a carrier, or none.
func (w *world) carrier(want bool) {
	w.t.Helper()
	for range 500 {
		near, err := net.InterfaceByName("near")
		if err != nil {
			w.t.Fatal(err)
		}
		if near.Flags&net.FlagRunning != 0 == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Fatalf("the link's carrier does not become %v", want)
}

func (w *world) there(script string) {
	w.t.Helper()
	sh(w.t, "nsenter --net=/proc/"+w.pid+"/ns/net /bin/sh -ec '"+script+"'")
}

func (w *world) mode(m string) { write(w.t, filepath.Join(w.folder, "mode"), m) }

func (w *world) params() checks.Params {
	return checks.Params{
		"providers": {"https://one.test/ All is well", "https://two.test:443/page well"},
		"portal":    {"http://open.test/ All is well"}, "ca_file": {w.authority},
	}
}

func (w *world) run(last any) checks.Run {
	w.t.Helper()
	c := New()
	params, err := c.Spec().Params(w.params())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), c.Spec().Timeout.D())
	defer cancel()
	got, err := c.Run(ctx, &checks.Env{Params: params, Last: last})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Spec().Validate(&got); err != nil {
		w.t.Fatal(err)
	}
	return got
}

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

// Each layer is broken in turn, found by its name, and well again after.
func TestEachLayer(t *testing.T) {
	w := newWorld(t)
	// What the kernel asks for by ARP, or has not found a moment ago, it does not ask for anew.
	forget := func() { sh(t, "ip neigh flush dev near") }
	const noWeb = "nft add table inet w; nft \"add chain inet w in { type filter hook input priority 0; }\"; nft add rule inet w in "
	for _, tt := range []struct {
		name       string
		spoil      func()
		mend       func()
		summary    string
		layers     float64
		afterGreen bool // with the sample of a run before
	}{
		{name: "cable out", spoil: func() { w.there("ip link set far down"); w.carrier(false) },
			mend:    func() { w.there("ip link set far up"); w.carrier(true) },
			summary: "link failed: near is not connected"},
		{name: "switched off", spoil: func() { sh(t, "ip link set near down") }, mend: w.join,
			summary: "link failed: near is switched off"},
		{name: "no address", spoil: func() { sh(t, "ip addr flush dev near") }, mend: w.join,
			summary: "address failed: near has no address, or only link-local ones", layers: 1},
		{name: "no route", spoil: func() { sh(t, "ip route del default") }, mend: w.join,
			summary: "gateway failed: the machine has no default gateway", layers: 2},
		{name: "gateway gone", spoil: func() { w.there("ip addr del 10.9.0.1/24 dev far"); forget() },
			mend: func() { w.there("ip addr add 10.9.0.1/24 dev far"); forget() }, summary: "gateway failed: 10.9.0.1 is not there", layers: 2},
		{name: "gateway that answered is gone", spoil: func() { w.there("ip addr del 10.9.0.1/24 dev far") },
			mend:    func() { w.there("ip addr add 10.9.0.1/24 dev far"); forget() },
			summary: "gateway failed: 10.9.0.1 does not answer any more", layers: 2, afterGreen: true},
		{name: "resolver silent", spoil: func() { w.there(noWeb + "udp dport 53 drop") }, mend: func() { w.there("nft delete table inet w") },
			summary: "dns failed: resolving ", layers: 3},
		{name: "resolver refuses", spoil: func() { w.there(noWeb + "udp dport 53 reject") }, mend: func() { w.there("nft delete table inet w") },
			summary: "dns failed: resolving ", layers: 3},
		{name: "captive portal", spoil: func() { w.mode(modePortal) }, mend: func() { w.mode(modeGood) },
			summary: "portal failed: a captive portal answers in the place of open.test: it leads to http://10.9.0.1/login", layers: 5},
		{name: "nobody accepts", spoil: func() { w.there(noWeb + "tcp dport { 80, 443 } reject with tcp reset") },
			mend: func() { w.there("nft delete table inet w") }, summary: "tcp failed: connecting to 203.0.113.", layers: 4},
		{name: "nobody answers", spoil: func() { w.there(noWeb + "tcp dport { 80, 443 } drop") },
			mend: func() { w.there("nft delete table inet w") }, summary: "tcp failed: connecting to 203.0.113.", layers: 4},
		{name: "wrong page", spoil: func() { w.mode(modeWrong) }, mend: func() { w.mode(modeGood) },
			summary: "https failed: the page of ", layers: 5},
		{name: "wrong status", spoil: func() { w.mode(modeStatus) }, mend: func() { w.mode(modeGood) },
			summary: "answers with status 502", layers: 5},
		{name: "wrong name", spoil: func() { w.mode(modeOther) }, mend: func() { w.mode(modeGood) },
			summary: "https failed: tls: failed to verify certificate", layers: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			before := w.run(nil)
			if r := before.Results[0]; r.Status != checks.OK || values(r)["layers"] != 6 || values(r)["providers_answering"] != 2 {
				t.Fatalf("before: %v %q %v", r.Status, r.Summary, r.Metrics)
			}
			tt.spoil()
			var last any
			if tt.afterGreen {
				last = before.Sample
			}
			r := w.run(last).Results[0]
			tt.mend()
			if r.Status != checks.Critical || !strings.Contains(r.Summary, tt.summary) || values(r)["layers"] != tt.layers {
				t.Errorf("got %v %q with %v layers, want %q with %v", r.Status, r.Summary, values(r)["layers"], tt.summary, tt.layers)
			}
			if got, want := values(r)["captive_portal"] == 1, strings.HasPrefix(tt.summary, "portal"); got != want {
				t.Errorf("captive_portal is %v", got)
			}
		})
	}
}

func TestOneProviderIsEnough(t *testing.T) {
	w := newWorld(t)
	w.there("ip addr del 203.0.113.1/32 dev lo; ip route add unreachable 203.0.113.1")
	r := w.run(nil).Results[0]
	v := values(r)
	if r.Status != checks.OK || v["providers"] != 2 || v["providers_answering"] != 1 || !strings.Contains(r.Summary, "1 of 2 providers answer") ||
		!strings.Contains(r.Summary, "one.test: tcp failed") {
		t.Errorf("got %v %q %v", r.Status, r.Summary, r.Metrics)
	}
	for _, name := range []string{"gateway_seconds", "dns_seconds", "tcp_seconds", "https_seconds"} {
		if v[name] <= 0 {
			t.Errorf("%s is %v", name, v[name])
		}
	}
}

// A gateway that never answered pings is there as long as the link knows it.
func TestQuietGateway(t *testing.T) {
	w := newWorld(t)
	w.there("echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all")
	if r := w.run(nil).Results[0]; r.Status != checks.OK {
		t.Errorf("got %v %q", r.Status, r.Summary)
	}
}

func TestConformance(t *testing.T) {
	w := newWorld(t)
	ready := make(chan struct{})
	close(ready)
	checktest.Run(t, New(), checktest.Options{
		Params: w.params(), Discoverable: true,
		Refused: []checktest.Refusal{
			{Params: checks.Params{"providers": {"https://:443/ text"}}, Name: "providers"},
			{Params: checks.Params{"providers": strings.Split(strings.Repeat("https://one.test/ x|", 9)[:9*20-1], "|")}, Name: "providers"},
			{Params: checks.Params{"portal": {"http://[::1/ text"}}, Name: "portal"},
			{Params: checks.Params{"ca_file": {"/no/such/file"}}, Name: "ca_file"},
		},
		Hanging: func(t *testing.T) (checks.Params, <-chan struct{}) {
			w.mode(modeHang)
			t.Cleanup(func() { w.mode(modeGood) })
			return w.params(), ready
		},
	})
}

// A provider that hangs, or drips, is a broken layer within the check's time.
func TestProviderHangs(t *testing.T) {
	w := newWorld(t)
	for _, mode := range []string{modeHang, modeDrip} {
		w.mode(mode)
		if r := w.run(nil).Results[0]; r.Status != checks.Critical || r.Summary != "https failed: timed out" {
			t.Errorf("%s: got %v %q", mode, r.Status, r.Summary)
		}
	}
}
