package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/internal/unboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone is what the tests' unbound knows. It answers nothing at all for silent.test.
const zone = `
  local-zone: "test." static
  local-data: "www.test. 300 A 192.0.2.10"
  local-data: "www.test. 60 A 192.0.2.11"
  local-data: "www.test. 300 AAAA 2001:db8::10"
  local-data: "alias.test. 300 CNAME www.test."
  local-data: "mx.test. 300 MX 10 Mail.test."
  local-data: 'txt.test. 300 TXT "v=spf1 -all"'
  local-data: "_ldap._tcp.test. 300 SRV 0 100 389 dc.test."
  local-zone: "silent.test." deny
  local-zone: "refused.test." refuse
`

// zones has unbound answer SERVFAIL below broken.example, whose data it can't get, and
// be an authority for zone.example.
const zones = `
auth-zone:
  name: "broken.example."
  primary: 127.0.0.1@1
  for-upstream: no
  for-downstream: yes
  fallback-enabled: no
auth-zone:
  name: "zone.example."
  zonefile: "example.zone"
  for-upstream: no
  for-downstream: yes
  fallback-enabled: no
`

const exampleZone = `$ORIGIN zone.example.
$TTL 300
@ SOA ns.zone.example. hostmaster.zone.example. 1 3600 600 86400 300
@ NS ns.zone.example.
ns A 192.0.2.53
www A 192.0.2.20
`

// long is a set of records that no datagram of ours has room for.
func long() string {
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "  local-data: 'long.test. 300 TXT \"%02d %s\"'\n", i, strings.Repeat("x", 200))
	}
	return b.String()
}

func start(t *testing.T, more string) *unboundtest.Server {
	t.Helper()
	return unboundtest.Start(t, unboundtest.Options{
		Server: zone + long() + more, Zones: zones, Files: map[string]string{"example.zone": exampleZone},
	})
}

func params(t *testing.T, given checks.Params) checks.Params {
	t.Helper()
	p, err := New().Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(t *testing.T, given checks.Params) checks.Result {
	t.Helper()
	c := New()
	ctx, cancel := context.WithTimeout(t.Context(), c.Spec().Timeout.D())
	defer cancel()
	got, err := c.Run(ctx, &checks.Env{Params: params(t, given)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 1 || !got.Complete {
		t.Fatalf("got %+v", got)
	}
	return got.Results[0]
}

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func TestAnswers(t *testing.T) {
	server := start(t, "")
	relay := unboundtest.Start(t, unboundtest.Options{
		Server: `  domain-insecure: "zone.example."`,
		Zones:  fmt.Sprintf("forward-zone:\n  name: \"zone.example.\"\n  forward-addr: %s@%d\n", server.Addr.Addr(), server.Addr.Port()),
	})
	for _, tt := range []struct {
		name    string
		given   checks.Params
		at      *unboundtest.Server
		status  checks.Status
		summary string // the beginning for a failure: the step
		metrics map[string]float64
	}{
		{"two addresses", checks.Params{"name": {"www.test"}}, server, checks.OK, "www.test. is 192.0.2.1",
			map[string]float64{"records": 2, "ttl_seconds": 60, "response_code": 0, "authoritative": 1, "queries": 1}},
		{"both expected", checks.Params{"name": {"WWW.test."}, "answers": {"192.0.2.10", "192.0.2.11", "192.0.2.12"}}, server, checks.OK, "", nil},
		{"IPv6", checks.Params{"name": {"www.test"}, "type": {"AAAA"}, "answers": {"2001:DB8:0::10"}}, server, checks.OK, "", nil},
		{"alias", checks.Params{"name": {"alias.test"}, "type": {"CNAME"}, "answers": {"www.test"}}, server, checks.OK, "", nil},
		{"mail", checks.Params{"name": {"mx.test"}, "type": {"MX"}, "answers": {"10 mail.test."}}, server, checks.OK, "", nil},
		{"text", checks.Params{"name": {"txt.test"}, "type": {"TXT"}, "answers": {"v=spf1 -all"}}, server, checks.OK, "", nil},
		{"service", checks.Params{"name": {"_ldap._tcp.test"}, "type": {"SRV"}, "answers": {"0 100 389 dc.test"}}, server, checks.OK, "", nil},
		{"truncated", checks.Params{"name": {"long.test"}, "type": {"TXT"}}, server, checks.OK, "and 9 more", map[string]float64{"records": 12}},
		{"authority", checks.Params{"name": {"www.zone.example"}, "authority": {"true"}}, server, checks.OK, "", nil},
		{"hearsay is well", checks.Params{"name": {"www.zone.example"}}, relay, checks.OK, "192.0.2.20", map[string]float64{"authoritative": 0}},

		{"lying", checks.Params{"name": {"www.test"}, "answers": {"192.0.2.10"}}, server, checks.Critical,
			"match failed: %s says that www.test. is 192.0.2.11", map[string]float64{"records": 2}},
		{"NXDOMAIN", checks.Params{"name": {"no.test"}}, server, checks.Critical,
			"answer failed: %s says that there is no no.test. (NXDOMAIN)", map[string]float64{"response_code": 3, "records": 0}},
		{"SERVFAIL", checks.Params{"name": {"www.broken.example"}}, server, checks.Critical,
			"answer failed: %s answers SERVFAIL", map[string]float64{"response_code": 2}},
		{"refused", checks.Params{"name": {"www.refused.test"}}, server, checks.Critical,
			"answer failed: %s answers REFUSED", map[string]float64{"response_code": 5}},
		{"no such record", checks.Params{"name": {"mx.test"}, "type": {"TXT"}}, server, checks.Critical,
			"answer failed: %s says that mx.test. has no TXT record", nil},
		{"silent", checks.Params{"name": {"www.silent.test"}}, server, checks.Critical,
			"query failed: %s does not answer: 3 queries were sent", map[string]float64{"queries": 3}},
		{"no authority", checks.Params{"name": {"www.zone.example"}, "authority": {"true"}}, relay, checks.Critical,
			"authority failed: %s is no authority for www.zone.example.", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.given["resolvers"] = []string{tt.at.Addr.String()}
			r := run(t, tt.given)
			v := values(r)
			want := tt.summary
			if strings.Contains(want, "%s") {
				want = fmt.Sprintf(want, tt.at.Addr)
			}
			if r.Status != tt.status || !strings.Contains(r.Summary, want) || r.Item != tt.at.Addr.String() {
				t.Errorf("got %v %q for %s, want %v with %q", r.Status, r.Summary, r.Item, tt.status, want)
			}
			for name, value := range tt.metrics {
				if got, ok := v[name]; !ok || got != value {
					t.Errorf("%s is %v, want %v", name, got, value)
				}
			}
			if _, ok := v["duration_seconds"]; ok != (tt.status == checks.OK) {
				t.Errorf("metrics are %v", v)
			}
			if _, ok := v["tcp_seconds"]; ok != (tt.name == "truncated") {
				t.Errorf("metrics are %v", v)
			}
		})
	}
}

func TestNoTCP(t *testing.T) {
	server := start(t, "  do-tcp: no\n")
	r := run(t, checks.Params{"name": {"long.test"}, "type": {"TXT"}, "resolvers": {server.Addr.String()}})
	if want := "tcp failed: the answer is too long for UDP"; r.Status != checks.Critical || !strings.HasPrefix(r.Summary, want) {
		t.Errorf("got %v %q, want %q", r.Status, r.Summary, want)
	}
}

func TestNobodyThere(t *testing.T) {
	server := start(t, "")
	server.Stop()
	r := run(t, checks.Params{"resolvers": {server.Addr.String()}})
	if want := fmt.Sprintf("query failed: %s: connection refused", server.Addr); r.Status != checks.Critical || r.Summary != want {
		t.Errorf("got %v %q, want %q", r.Status, r.Summary, want)
	}
}

// Each resolver is a result of its own, asked at the same time as the others.
func TestSeveralResolvers(t *testing.T) {
	good, bad := start(t, ""), start(t, "")
	bad.Stop()
	env := &checks.Env{Params: params(t, checks.Params{
		"name": {"www.test"}, "resolvers": {bad.Addr.String(), good.Addr.String(), good.Addr.String()},
	})}
	got, err := New().Run(t.Context(), env)
	if err != nil || len(got.Results) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got.Results[0].Status != checks.Critical || got.Results[1].Status != checks.OK {
		t.Errorf("got %+v", got.Results)
	}
}

// stub answers as a test wants, where no kept server can be made to.
func stub(t *testing.T, udp func(query *mdns.Msg) [][]byte, tcp func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Skip("the port is taken for UDP")
	}
	done := make(chan struct{}, 2)
	t.Cleanup(func() { l.Close(); p.Close(); <-done; <-done })
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			var query mdns.Msg
			if query.Unpack(buf[:n]) != nil {
				continue
			}
			for _, packet := range udp(&query) {
				p.WriteTo(packet, from)
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tcp(conn)
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func packed(t *testing.T, query *mdns.Msg, change func(*mdns.Msg)) []byte {
	t.Helper()
	m := new(mdns.Msg).SetReply(query)
	rr, err := mdns.NewRR(query.Question[0].Name + " 300 A 192.0.2.1")
	if err != nil {
		t.Error(err)
	}
	m.Answer = []mdns.RR{rr}
	change(m)
	out, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return out
}

// What answers another question is not taken for an answer.
func TestStrangers(t *testing.T) {
	at := stub(t, func(q *mdns.Msg) [][]byte {
		return [][]byte{
			packed(t, q, func(m *mdns.Msg) { m.Id++ }),
			packed(t, q, func(m *mdns.Msg) { m.Question[0].Name = "other." }),
			packed(t, q, func(m *mdns.Msg) { m.Response = false }),
			packed(t, q, func(*mdns.Msg) {}),
		}
	}, func(net.Conn) {})
	if r := run(t, checks.Params{"resolvers": {at}}); r.Status != checks.OK || values(r)["queries"] != 1 {
		t.Errorf("got %v %q", r.Status, r.Summary)
	}
}

func TestGarbage(t *testing.T) {
	at := stub(t, func(q *mdns.Msg) [][]byte {
		return [][]byte{packed(t, q, func(*mdns.Msg) {})[:30]}
	}, func(net.Conn) {})
	if r := run(t, checks.Params{"resolvers": {at}}); r.Status != checks.Critical || !strings.Contains(r.Summary, "its answer can't be read") {
		t.Errorf("got %v %q", r.Status, r.Summary)
	}
}

// A server that takes the connection in and says nothing, or a byte a second, does not
// hold the check beyond its deadline.
func TestSlowTCP(t *testing.T) {
	truncated := func(q *mdns.Msg) [][]byte {
		return [][]byte{packed(t, q, func(m *mdns.Msg) { m.Truncated, m.Answer = true, nil })}
	}
	for name, tcp := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { c.Read(make([]byte, 1)); c.Read(make([]byte, 1500)); c.Read(make([]byte, 1)) },
		"a byte a second": func(c net.Conn) {
			for {
				if _, err := c.Write([]byte{1}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := stub(t, truncated, tcp)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			got, err := New().Run(ctx, &checks.Env{Params: params(t, checks.Params{"resolvers": {at}})})
			if err != nil || !strings.Contains(got.Results[0].Summary, "tcp failed: the answer is too long for UDP, and by TCP "+at+": timed out") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestSystemResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# made by hand\nsearch example.com\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver fe80::1%eth0\noptions edns0\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := systemResolvers(path)
	if err != nil || len(got) != 2 || got[0].addr.String() != "192.0.2.1:53" || got[1].item != "fe80::1%eth0" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := systemResolvers(path + ".none"); err != nil || got != nil {
		t.Errorf("without a file: %v, %v", got, err)
	}
}

func TestConformance(t *testing.T) {
	server := start(t, "")
	many := make([]string, 0, 80)
	for i := range 80 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i+1))
	}
	checktest.Run(t, New(), checktest.Options{
		Params: checks.Params{"name": {"www.test"}, "resolvers": {server.Addr.String()}},
		Refused: []checktest.Refusal{
			{Params: checks.Params{"name": {strings.Repeat("x", 64) + ".test"}}, Name: "name"},
			{Params: checks.Params{"resolvers": {"ns1.example.com"}}, Name: "resolvers"},
			{Params: checks.Params{"resolvers": {"192.0.2.1:0"}}, Name: "resolvers"},
			{Params: checks.Params{"resolvers": many}, Name: "resolvers"},
		},
		Hanging: func(t *testing.T) (checks.Params, <-chan struct{}) {
			now := make(chan struct{})
			close(now)
			return checks.Params{"name": {"www.silent.test"}, "resolvers": {server.Addr.String()}}, now
		},
	})
}
