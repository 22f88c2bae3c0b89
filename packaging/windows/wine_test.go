package windows

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent"
	"github.com/wacht-io/wacht/collector/collectortest"
)

// customer is a collector with the one machine that joins it.
type customer struct {
	*wine
	*collectortest.Process

	t    *testing.T
	host string
}

// newCustomer starts a collector that wants some figures each second.
func newCustomer(t *testing.T, w *wine) *customer {
	t.Helper()
	policy := t.TempDir()
	err := os.WriteFile(filepath.Join(policy, "often.yaml"), []byte("- match: {}\n  checks:\n    uptime: {interval: 1s}\n    memory: {interval: 1s}\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return &customer{wine: w, t: t, Process: collectortest.Spawn(t, collectortest.Options{Config: "policy_dir: " + policy + "\n"})}
}

func (c *customer) token() string {
	c.t.Helper()
	token, err := c.Token(c.t.Context(), "example", "lab", 1)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// seen is the host as the collector sees it.
func (c *customer) seen() collectortest.Host {
	c.t.Helper()
	h, err := c.Host(c.t.Context(), c.host)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// status is the running agent's own account.
func (c *customer) status() (st agent.Status) {
	c.t.Helper()
	out, code := c.do(agentProgram, "status", "--json")
	if code == 0 {
		// Wine itself writes there too, when it ends.
		out = out[max(0, strings.IndexByte(out, '{')):]
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&st); err != nil {
			c.t.Fatalf("%v: %s", err, out)
		}
	}
	return st
}

// connects waits until the agent runs and has a stream, and holds it to be the same
// host as ever.
func (c *customer) connects() {
	c.t.Helper()
	var st agent.Status
	await(c.t, "the agent's connection", func() bool {
		st = c.status()
		return st.Connected
	})
	if c.host == "" {
		c.host = st.Host
	}
	if st.Host != c.host {
		c.t.Fatalf("host %s has become %s", c.host, st.Host)
	}
}

// installed says whether the service is there.
func (c *customer) installed() bool {
	out, code := c.do("sc", "query", "WachtAgent")
	return code == 0 && strings.Contains(out, "WachtAgent")
}

func (c *customer) remove(r release, properties ...string) {
	c.t.Helper()
	c.must(append([]string{wineProgram, "msiexec", "/x", path(r.installer), "/qn"}, properties...)...)
	if c.installed() || c.exists("Program Files/Wacht/wacht-agent.exe") {
		c.t.Error("after its removal the agent is still there")
	}
}

// The life of an agent on Windows, from its installer to its removal. What Wine does
// not have is not shown by it: access lists, accounts of services, their recovery, the
// Event Log's viewer, and a shutdown.
func TestLife(t *testing.T) {
	needBuild(t)
	one, two := build(t, "v1.2.3"), build(t, "v1.2.4")
	c := newCustomer(t, newWine(t))

	if c.tryInstall(one) == 0 || c.exists("Program Files/Wacht") {
		t.Error("it installs on Windows 7")
	}
	c.windows10()
	token := c.token()
	c.install(one, "WACHT_COLLECTOR="+c.AgentsAddr, "WACHT_TOKEN="+token)
	c.connects()
	await(t, "results at the collector", func() bool { return c.seen().States > 3 })
	if h := c.seen(); h.OS != "windows" || h.AgentVersion != "v1.2.3" || h.Customer != "example" || h.Role != "workstation" {
		t.Errorf("the host is %+v", h.Host)
	}
	if c.exists("ProgramData/Wacht/agent/join.json") {
		t.Error("the token is still there")
	}

	// What makes an installation fail with a mistyped token; Wine does not undo one.
	if out, code := c.do(agentProgram, "service", "prepare", c.AgentsAddr, token+"x"); code != 1 || !strings.Contains(out, "incomplete or was mistyped") {
		t.Errorf("a mistyped token: %d, %s", code, out)
	}

	t.Run("control", c.control)
	t.Run("spool", c.outage)

	for _, other := range []release{two, one} { // an upgrade, and back
		c.install(other)
		want := strings.Split(filepath.Base(other.installer), "_")[1]
		c.connects()
		await(t, "version "+want, func() bool { return c.seen().AgentVersion == "v"+want })
	}

	c.remove(one)
	if !c.exists("ProgramData/Wacht/agent/identity.pem") {
		t.Error("the identity went with the program")
	}
	c.install(one)
	c.connects() // as the same host
	c.remove(one, "WACHT_PURGE=1")
	if c.exists("ProgramData/Wacht") {
		t.Error("after a purge something is left")
	}
}

// control stops and starts the service by its own program and by Windows' own.
func (c *customer) control(t *testing.T) {
	status := c.agent("service", "status")
	for _, want := range []string{"state    running", "starts   with Windows", `account  NT SERVICE\WachtAgent`, agentProgram, "service run"} {
		if !strings.Contains(status, want) {
			t.Errorf("the status lacks %q:\n%s", want, status)
		}
	}
	for _, by := range []struct{ stop, start []string }{
		{[]string{agentProgram, "service", "stop"}, []string{agentProgram, "service", "start"}},
		{[]string{"net", "stop", "WachtAgent"}, []string{"net", "start", "WachtAgent"}},
		{[]string{"sc", "stop", "WachtAgent"}, []string{"sc", "start", "WachtAgent"}},
	} {
		before := c.seen().GoodbyeAt
		c.must(append([]string{wineProgram}, by.stop...)...)
		await(t, "the goodbye", func() bool { h := c.seen(); return h.Goodbye == "stop" && h.GoodbyeAt.After(before) })
		await(t, "the end", func() bool { return strings.Contains(c.agent("service", "status"), "state    stopped") })
		c.must(append([]string{wineProgram}, by.start...)...)
		c.connects()
	}
	if out, code := c.do(agentProgram, "service", "install"); code != 1 || !strings.Contains(out, "the service is installed already") {
		t.Errorf("a second service: %d, %s", code, out)
	}
	if out, code := c.do(agentProgram, "run"); code != 1 || !strings.Contains(out, "another agent has this state folder open") {
		t.Errorf("a second agent: %d, %s", code, out)
	}
}

// outage lets the collector be away: the results of that time wait on disk, and come.
func (c *customer) outage(t *testing.T) {
	c.Stop()
	began := time.Now()
	await(t, "runs on the agent's disk", func() bool { return c.status().Spool.OnDisk >= 6 })
	c.must(wineProgram, "net", "stop", "WachtAgent") // they outlast the process
	c.must(wineProgram, "net", "start", "WachtAgent")
	ended := time.Now()
	c.Restart()
	c.connects()
	await(t, "an empty spool", func() bool { return c.status().Spool.OnDisk == 0 })
	if sp := c.status().Spool; sp.Dropped+sp.Lost+sp.Damaged+sp.Refused > 0 || sp.DiskFailing {
		t.Errorf("the spool is %+v", sp)
	}
	api, err := c.APIToken(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	const want = 3 // of each of the two checks there were at least so many, of six
	count := 0
	await(t, "the outage in history", func() bool {
		series, err := c.Query(t.Context(), api, `wacht_memory_total_bytes[1h]`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		count = 0
		for _, s := range series {
			for _, sample := range s.Samples {
				if at := time.UnixMilli(sample.AtMillis); at.After(began) && at.Before(ended) {
					count++
				}
			}
		}
		return count >= want
	})
	if len(c.seen().Findings) > 0 {
		t.Errorf("the collector noticed %+v", c.seen().Findings)
	}
	t.Logf("an outage of %s has %d runs in history", ended.Sub(began).Round(time.Second), count)
}

// run is what check --json prints.
type run struct {
	Complete bool
	Results  []struct {
		Item, Status, Summary string
		Metrics               []struct {
			Name  string
			Value float64
		}
	}
}

// The checks find on Windows what is there. Counters of drives, SMART and pings are
// not among them: Wine has none.
func TestChecks(t *testing.T) {
	needBuild(t)
	w := newWine(t)
	w.windows10()
	w.install(build(t, "v1.2.3"))
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("Welcome")) }))
	t.Cleanup(web.Close)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	port := web.Listener.Addr().(*net.TCPAddr).String()
	for name, tt := range map[string]struct {
		args   []string
		item   string
		status string
		metric string
		holds  func(float64) bool
	}{
		"cpu":          {[]string{"cpu"}, "", "ok", "processors", func(v float64) bool { return int(v) == runtime.NumCPU() }},
		"memory":       {[]string{"memory"}, "", "ok", "total_bytes", func(v float64) bool { return v > 1<<28 }},
		"disk":         {[]string{"disk"}, "C:", "ok", "size_bytes", func(v float64) bool { return v > 1<<28 }},
		"uptime":       {[]string{"uptime"}, "", "ok", "uptime_seconds", func(v float64) bool { return v > 1 }},
		"agent":        {[]string{"agent"}, "", "ok", "resident_bytes", func(v float64) bool { return v > 1<<20 }},
		"process":      {[]string{"process", "name=wacht-agent.exe"}, "", "ok", "processes", func(v float64) bool { return v == 2 }}, // the service, and the check itself
		"service":      {[]string{"service", "units=WachtAgent"}, "wachtagent", "ok", "active", func(v float64) bool { return v == 1 }},
		"no service":   {[]string{"service", "units=Nothing"}, "nothing", "ok", "active", func(v float64) bool { return v == 0 }},
		"tcp":          {[]string{"tcp", "address=" + port}, "", "ok", "connect_seconds", func(v float64) bool { return v > 0 }},
		"http":         {[]string{"http", "url=" + web.URL, "body=Welcome"}, "", "ok", "status_code", func(v float64) bool { return v == 200 }},
		"another page": {[]string{"http", "url=" + web.URL, "body=Goodbye"}, "", "critical", "status_code", func(v float64) bool { return v == 200 }},
		"certificate":  {[]string{"certificate", "endpoints=" + secure.Listener.Addr().String()}, "", "critical", "remaining_seconds", func(v float64) bool { return v > 3600 }},
	} {
		t.Run(name, func(t *testing.T) {
			var got run
			_, out, _ := strings.Cut(w.agent(append([]string{"check", "--json"}, tt.args...)...), "{") // Wine may have something to say before
			out = "{" + out
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, r := range got.Results {
				if r.Item != tt.item && tt.item != "" {
					continue
				}
				for _, m := range r.Metrics {
					if m.Name == tt.metric && r.Status == tt.status && tt.holds(m.Value) && got.Complete {
						return
					}
				}
			}
			t.Errorf("no %s as it has to be: %s", tt.metric, out)
		})
	}
	found := w.agent("discover")
	for _, want := range []string{"cpu ", "disk ", "C:", "memory ", "uptime ", "service "} {
		if !strings.Contains(found, want) {
			t.Errorf("discover lacks %q:\n%s", want, found)
		}
	}
	listed := w.agent("checks")
	for _, spec := range agent.Specs(agent.Options{}) {
		if slices.Contains(spec.Systems, "windows") && !strings.Contains(listed, spec.Name+" ") {
			t.Errorf("checks lacks %s:\n%s", spec.Name, listed)
		}
	}
}
