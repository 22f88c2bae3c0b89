package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/uplinktest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wacht-agent": main})
}

// collectorKey finds a script's collector.
type collectorKey struct{}

func TestScripts(t *testing.T) {
	runScripts(t, "testdata", nil)
}

// runScripts runs a folder's scripts, each with a collector of its own.
func runScripts(t *testing.T, dir string, prepare func(*testscript.Env, *uplinktest.Collector)) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			c := uplinktest.New(t)
			e.Values[collectorKey{}] = c
			if prepare != nil {
				prepare(e, c)
			}
			e.Vars = append(e.Vars,
				"COLLECTOR="+c.Listen(t), "TOKEN="+c.Token(), "OTHER_TOKEN="+uplinktest.New(t).Token(),
				"HTTPS_PROXY=", "NO_PROXY=",
			)
			for _, v := range e.Vars {
				if addr, ok := strings.CutPrefix(v, "COLLECTOR="); ok {
					e.Vars = append(e.Vars, "PROXY="+proxy(t, addr))
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"arrived":  arrived,
			"told":     told,
			"declared": declared,
			"goodbye":  goodbye,
			"jsonpath": jsonPath,
			"answers":  answers,
		},
	})
}

// proxy is an HTTP proxy that knows one place to connect to, whatever is asked for.
func proxy(t *testing.T, addr string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "collector.example.net:7421" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, here)
			_ = there.Close()
		}()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func await(ts *testscript.TestScript, id string, wanted func(*uplinktest.Host) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(ts.Value(collectorKey{}).(*uplinktest.Collector).Await(ctx, id, wanted))
}

// arrived HOST CHECK waits until the collector has a run of the check.
func arrived(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(h *uplinktest.Host) bool {
		return slices.ContainsFunc(h.Runs, func(r uplinktest.Received) bool { return r.Check == args[1] })
	})
}

// told HOST CHECK TEXT waits until the collector has a run of the check with a summary
// that holds the text.
func told(ts *testscript.TestScript, _ bool, args []string) {
	holds := func(summary string) bool { return strings.Contains(summary, args[2]) }
	await(ts, args[0], func(h *uplinktest.Host) bool {
		return slices.ContainsFunc(h.Runs, func(r uplinktest.Received) bool {
			return r.Check == args[1] && slices.ContainsFunc(r.Summaries, holds)
		})
	})
}

// declared HOST CHECK TEXT waits until the collector has the check's declaration, with
// the text in it, and its digest in the hello.
func declared(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(h *uplinktest.Host) bool {
		inHello := slices.ContainsFunc(h.Hello.GetChecks(), func(d *agentpb.CheckDigest) bool {
			sum := sha256.Sum256([]byte(h.Declarations[args[1]]))
			return d.GetCheck() == args[1] && bytes.Equal(d.GetSha256(), sum[:])
		})
		return inHello && strings.Contains(h.Declarations[args[1]], args[2])
	})
}

// goodbye HOST waits until the host has said goodbye.
func goodbye(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(h *uplinktest.Host) bool { return h.Goodbye != nil })
}

// answers waits until an agent answers at the socket.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", path)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no agent answers at %s: %v", path, err)
		}
	}
}

// jsonPath FILE KEY... demands that the JSON in a file has keys, at any depth.
func jsonPath(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for _, key := range args[1:] {
		if !hasKey(v, key) {
			ts.Fatalf("%s has no %q", args[0], key)
		}
	}
}

func hasKey(v any, key string) bool {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[key]; ok {
			return true
		}
		for _, inner := range v {
			if hasKey(inner, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(inner any) bool { return hasKey(inner, key) })
	}
	return false
}

// The agent's memory follows its binary: what it is linked with is chosen, and
// adding to it is a decision made here.
func TestDependencies(t *testing.T) {
	allowed := []string{
		"github.com/Microsoft/go-winio",             // status: pipes on Windows
		"github.com/cenkalti/backoff/v5",            // uplink: full jitter
		"github.com/ebitengine/purego",              // gopsutil on macOS
		"github.com/go-ole/go-ole",                  // gopsutil on Windows
		"github.com/godbus/dbus/v5",                 // service check: systemd
		"github.com/coreos/go-systemd/v22",          // service check: systemd
		"github.com/google/uuid",                    // pro-bing
		"github.com/lufia/plan9stats",               // gopsutil
		"github.com/power-devops/perfstat",          // gopsutil
		"github.com/prometheus-community/pro-bing",  // ping check
		"github.com/shirou/gopsutil/v3",             // figures of the host
		"github.com/shoenig/go-m1cpu",               // gopsutil on macOS
		"github.com/tklauser/go-sysconf",            // gopsutil
		"github.com/tklauser/numcpus",               // gopsutil
		"github.com/yusufpapurcu/wmi",               // gopsutil on Windows
		"go.etcd.io/bbolt",                          // spool
		"go.yaml.in/yaml/v3",                        // configuration and declarations
		"golang.org/x/crypto",                       // checks
		"golang.org/x/net",                          // gRPC, pro-bing
		"golang.org/x/sync",                         // pro-bing
		"golang.org/x/sys",                          // system calls
		"golang.org/x/text",                         // gRPC
		"golang.org/x/time",                         // uplink: throttle
		"google.golang.org/genproto/googleapis/rpc", // gRPC
		"google.golang.org/grpc",                    // uplink
		"google.golang.org/protobuf",                // uplink
	}
	for _, target := range []string{"linux", "windows", "darwin"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{end}}{{.ImportPath}}", ".")
		cmd.Env = append(os.Environ(), "GOOS="+target, "CGO_ENABLED=0")
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			module, path, ok := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case !ok: // the standard library
			case module == "github.com/wacht-io/wacht":
				if strings.Contains(path, "/collector") {
					t.Errorf("%s: the agent imports %s", target, path)
				}
			case !slices.Contains(allowed, module):
				t.Errorf("%s: the agent is linked with %s (%s), which is not in the list", target, module, path)
			}
		}
	}
}

// Every command tells how it is used, with an example.
func TestHelp(t *testing.T) {
	for _, c := range commands() {
		var out strings.Builder
		if code := Main(t.Context(), []string{c.name, "--help"}, nil, &out, os.Stderr); code != 0 {
			t.Errorf("%s --help exits with %d", c.name, code)
		}
		for _, want := range []string{"Usage:\n  wacht-agent " + c.name, "Example", "Flags:\n", "--state-dir"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s --help lacks %q", c.name, want)
			}
		}
	}
}
