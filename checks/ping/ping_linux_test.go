package ping

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

// The tests run in a network namespace of their own, so that they can have their
// own links, losses and kernel settings. TestMain starts the test binary there.
const (
	roleVariable = "WACHT_PING_TEST"
	inNamespace  = "inside"
	asPeer       = "peer" // lends its network namespace until its input ends
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case inNamespace:
		os.Exit(m.Run())
	case asPeer:
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	cmd := again(inNamespace, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(e.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests of ping need a network namespace of their own (root, or user namespaces allowed):", err)
		os.Exit(1)
	}
}

// again is this program in a fresh network namespace.
func again(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// sh runs a script of ip and nft commands (Debian: iproute2, nftables).
func sh(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func allow(t *testing.T, groups string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(groups), 0o644); err != nil {
		t.Fatal(err)
	}
}

// network brings up the loopback with addresses that lose packets.
func network(t *testing.T) {
	t.Helper()
	allow(t, "0 0")
	sh(t, `ip link set lo up
		nft add table inet wacht
		nft 'add chain inet wacht in { type filter hook input priority 0; }'
		nft add rule inet wacht in ip daddr 127.0.0.10 icmp type echo-request numgen inc mod 4 0 drop
		nft add rule inet wacht in ip daddr 127.0.0.11 icmp type echo-request drop
		ip route add prohibit 198.51.100.1`)
	t.Cleanup(func() { sh(t, "nft delete table inet wacht; ip route del prohibit 198.51.100.1") })
}

func run(t *testing.T, last any, given checks.Params) checks.Run {
	t.Helper()
	c := New()
	given["interval"] = []string{"10ms"}
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

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func TestTargets(t *testing.T) {
	network(t)
	got := run(t, nil, checks.Params{"count": {"8"}, "targets": {
		"127.0.0.1", "::1", "127.0.0.10", "127.0.0.11", "192.0.2.1", "198.51.100.1", "255.255.255.255", "nowhere.invalid", "127.0.0.1",
	}})
	type want struct {
		status         checks.Status
		summary        string
		sent, received float64
	}
	wanted := map[string]want{
		"127.0.0.1":       {checks.OK, "127.0.0.1 answers in", 8, 8},
		"::1":             {checks.OK, "::1 answers in", 8, 8},
		"127.0.0.10":      {checks.OK, "2 of 8 packets lost", 8, 6},
		"127.0.0.11":      {checks.Critical, "127.0.0.11 does not answer: 8 packets lost", 8, 0},
		"192.0.2.1":       {checks.Critical, "no way to 192.0.2.1: network is unreachable", 0, 0},
		"198.51.100.1":    {checks.Unknown, "a route prohibits it", 0, 0},
		"255.255.255.255": {checks.Critical, "no way to 255.255.255.255", 0, 0},
		"nowhere.invalid": {checks.Critical, "resolving nowhere.invalid", 0, 0},
	}
	if len(got.Results) != len(wanted) {
		t.Fatalf("got %d results, want %d", len(got.Results), len(wanted))
	}
	for _, r := range got.Results {
		w, v := wanted[r.Item], values(r)
		if r.Status != w.status || !strings.Contains(r.Summary, w.summary) {
			t.Errorf("%s: got %v %q, want %v with %q", r.Item, r.Status, r.Summary, w.status, w.summary)
		}
		if v["packets_sent"] != w.sent || v["packets_received"] != w.received {
			t.Errorf("%s: %v of %v packets came back, want %v of %v", r.Item, v["packets_received"], v["packets_sent"], w.received, w.sent)
		}
		if _, measured := v["rtt_avg_seconds"]; measured != (w.received > 0) {
			t.Errorf("%s: metrics are %v", r.Item, v)
		}
	}
}

// What the kernel forbids everybody, root may still do.
func TestRawSockets(t *testing.T) {
	sh(t, "ip link set lo up")
	allow(t, "1 0")
	for _, target := range []string{"127.0.0.1", "::1"} {
		r := run(t, nil, checks.Params{"targets": {target}, "count": {"3"}}).Results[0]
		if r.Status != checks.OK || values(r)["packets_received"] != 3 {
			t.Errorf("%s: got %v %q", target, r.Status, r.Summary)
		}
	}
}

// powerless says to a test that it runs without the right to raw sockets.
const powerless = "WACHT_PING_POWERLESS"

func TestKernelForbids(t *testing.T) {
	if os.Getenv(powerless) == "" {
		// Only a new program loses a right that root has (util-linux: setpriv).
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", self, "-test.run=^TestKernelForbids$", "-test.v")
		cmd.Env = append(os.Environ(), powerless+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestKernelForbids") {
			t.Errorf("without the right to raw sockets: %v\n%s", err, out)
		}
		return
	}
	sh(t, "ip link set lo up")
	allow(t, "1 0")
	r := run(t, nil, checks.Params{"targets": {"127.0.0.1"}}).Results[0]
	if r.Status != checks.Unknown || !strings.Contains(r.Summary, "net.ipv4.ping_group_range") || r.Item != "" {
		t.Errorf("got %v %q", r.Status, r.Summary)
	}
}

// router makes a second namespace that is this one's default gateway, and returns
// what runs a script there.
func router(t *testing.T) func(script string) {
	t.Helper()
	peer := again(asPeer)
	in, err := peer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); peer.Wait() })
	pid := strconv.Itoa(peer.Process.Pid)
	there := func(script string) { sh(t, "nsenter --net=/proc/"+pid+"/ns/net /bin/sh -ec '"+script+"'") }
	sh(t, "ip link add near type veth peer name far && ip link set far netns "+pid)
	there("ip addr add 10.9.0.1/24 dev far; ip link set far up")
	sh(t, "ip addr add 10.9.0.2/24 dev near; ip link set near up; ip route add default via 10.9.0.1")
	return there
}

func TestGateway(t *testing.T) {
	network(t)
	here := checks.Params{"targets": {"gateway"}, "count": {"3"}}
	if r := run(t, nil, here).Results[0]; r.Status != checks.Critical || !strings.Contains(r.Summary, "no default gateway") {
		t.Errorf("without a gateway: %v %q", r.Status, r.Summary)
	}
	there := router(t)
	found, err := New().Discover(t.Context(), &checks.Env{})
	if err != nil || len(found) != 1 || found[0].Name != "gateway" || found[0].Items[0] != "10.9.0.1" {
		t.Fatalf("discovered %v, %v", found, err)
	}
	first := run(t, nil, here)
	if r := first.Results[0]; r.Status != checks.OK || values(r)["private"] != 1 {
		t.Errorf("a gateway that answers: %v %q", r.Status, r.Summary)
	}
	there("echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all")
	if r := run(t, nil, here).Results[0]; r.Status != checks.Unknown || !strings.Contains(r.Summary, "it may be set not to") {
		t.Errorf("a gateway that never answered: %v %q", r.Status, r.Summary)
	}
	second := run(t, first.Sample, here)
	if r := second.Results[0]; r.Status != checks.Critical || values(r)["loss_ratio"] != 1 {
		t.Errorf("a gateway that answered before: %v %q", r.Status, r.Summary)
	}
	if r := run(t, second.Sample, here).Results[0]; r.Status != checks.Critical {
		t.Errorf("a run later: %v %q", r.Status, r.Summary)
	}
}

func TestConformance(t *testing.T) {
	network(t)
	router(t)
	checktest.Run(t, New(), checktest.Options{
		Params:       checks.Params{"targets": {"127.0.0.1", "gateway"}, "count": {"2"}, "interval": {"10ms"}},
		Discoverable: true,
		Refused: []checktest.Refusal{
			{Params: checks.Params{"targets": {"127.0.0.1"}, "count": {"100"}, "interval": {"1s"}}, Name: "count and interval"},
		},
		Hanging: func(*testing.T) (checks.Params, <-chan struct{}) {
			now := make(chan struct{})
			close(now)
			return checks.Params{"targets": {"127.0.0.11"}}, now
		},
	})
}
