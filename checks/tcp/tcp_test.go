package tcp

import (
	"context"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

// serve answers each connection to a port of its own and returns the address.
func serve(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); talk(conn) }()
		}
	}()
	return l.Addr().String()
}

func run(t *testing.T, ctx context.Context, given checks.Params) checks.Result {
	t.Helper()
	c := New()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(ctx, &checks.Env{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	return got.Results[0]
}

func metric(r checks.Result, name string) bool {
	for _, m := range r.Metrics {
		if m.Name == name {
			return true
		}
	}
	return false
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestRun(t *testing.T) {
	smtp := func(c net.Conn) { io.WriteString(c, "220 mail.example.com ESMTP\r\n"); io.Copy(io.Discard, c) }
	// Hidden behind plain interfaces the connections are not spliced: the pipes that
	// splicing keeps would count as files left open.
	echo := func(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }
	flood := func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 1<<20)) }
	for name, tt := range map[string]struct {
		talk    func(net.Conn)
		params  checks.Params
		status  checks.Status
		summary string
		steps   string
	}{
		"accepts":           {echo, nil, checks.OK, "answered in", "connect"},
		"banner":            {smtp, checks.Params{"expect": {`^220 .*ESMTP`}}, checks.OK, "answered in", "connect banner"},
		"send and expect":   {echo, checks.Params{"send": {`PING\r\n`}, "expect": {`PING\r\n`}}, checks.OK, "", "connect banner"},
		"wrong banner":      {flood, checks.Params{"expect": {"SSH"}}, checks.Critical, "banner failed", "connect"},
		"closes too early":  {func(net.Conn) {}, checks.Params{"expect": {"SSH"}}, checks.Critical, "banner failed: \"SSH\" did not come", "connect"},
		"nobody there":      {nil, nil, checks.Critical, "connect failed: connecting to 127.0.0.1:", ""},
		"name is not known": {nil, checks.Params{"address": {"nowhere.invalid:25"}}, checks.Critical, "dns failed: resolving nowhere.invalid", ""},
	} {
		t.Run(name, func(t *testing.T) {
			params := checks.Params{}
			if tt.talk != nil {
				params["address"] = []string{serve(t, tt.talk)}
			} else {
				params["address"] = []string{closedPort(t)}
			}
			maps.Copy(params, tt.params)
			r := run(t, t.Context(), params)
			if r.Status != tt.status || !strings.Contains(r.Summary, tt.summary) {
				t.Errorf("got %v %q, want %v with %q", r.Status, r.Summary, tt.status, tt.summary)
			}
			for _, step := range []string{"dns", "connect", "banner"} {
				if got, want := metric(r, step+"_seconds"), strings.Contains(tt.steps, step); got != want {
					t.Errorf("%s_seconds is there: %v, want %v", step, got, want)
				}
			}
			if got, want := metric(r, "duration_seconds"), tt.status == checks.OK; got != want {
				t.Errorf("duration_seconds is there: %v, want %v", got, want)
			}
		})
	}
}

func TestSilentServerEndsAtDeadline(t *testing.T) {
	release := make(chan struct{})
	addr := serve(t, func(net.Conn) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := run(t, ctx, checks.Params{"address": {addr}, "expect": {"hello"}})
	if r.Status != checks.Critical || !strings.Contains(r.Summary, "timed out") {
		t.Errorf("got %v %q, want critical with a time-out", r.Status, r.Summary)
	}
}

func TestConformance(t *testing.T) {
	// Hidden behind plain interfaces the connections are not spliced: the pipes that
	// splicing keeps would count as files left open.
	echo := func(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }
	addr := serve(t, echo)
	checktest.Run(t, New(), checktest.Options{
		Params: checks.Params{"address": {addr}, "send": {"hello"}, "expect": {"hello"}},
		Refused: []checktest.Refusal{
			{Params: checks.Params{"address": {"example.com:0"}}, Name: "address"},
			{Params: checks.Params{"address": {addr}, "expect": {"("}}, Name: "expect"},
		},
		Hanging: func(t *testing.T) (checks.Params, <-chan struct{}) {
			taken := make(chan struct{}, 1)
			silent := serve(t, func(c net.Conn) {
				select {
				case taken <- struct{}{}:
				default: // one is enough
				}
				io.Copy(io.Discard, c)
			})
			return checks.Params{"address": {silent}, "expect": {"hello"}}, taken
		},
	})
}
