package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
)

// BenchmarkAgentFootprint measures the agent with all its checks every 60 s beside
// Debian's prometheus-node-exporter, scraped every 15 s, and then the agent again
// after it has drained a day's backlog. WACHT_FOOTPRINT says for how long, 2m unless
// given. Memory is the proportional set size (proc_pid_smaps(5)), in MiB.
func BenchmarkAgentFootprint(b *testing.B) {
	long := 2 * time.Minute
	if text := os.Getenv("WACHT_FOOTPRINT"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	s := serve(b, options{})
	folder := b.TempDir()
	for b.Loop() {
		m := join(b, s, filepath.Join(folder, "agent-00000"), "")
		m.run()
		e := startExporter(b)
		ours, theirs := measure(b, long, m.cmd.Process.Pid, e)
		b.Logf("agent %s; node exporter %s; ratio %.2f of its memory, %.2f of its processor time, over %v",
			ours, theirs, ours.mean/theirs.mean, ours.share/theirs.share, long)
		m.stop()
		s.stop()
		n := backlog(b, s, folder)
		s.start()
		drained, top, took := drain(b, m, n)
		b.Logf("a day's backlog of %d runs drained in %.1f s with %.1f MiB at most; %.1f MiB a minute later, %+.1f MiB",
			n, took.Seconds(), top, drained, drained-ours.mean)
		b.ReportMetric(ours.mean, "MiB")
		b.ReportMetric(ours.share*100, "%core")
		b.ReportMetric(ours.mean/theirs.mean, "of-node-exporter")
		b.ReportMetric(drained, "MiB-drained")
		b.ReportMetric(0, "ns/op")
	}
}

// footprint is what a process used.
type footprint struct {
	mean, max float64 // MiB
	share     float64 // of a core
}

// String tells it to people.
func (f footprint) String() string {
	return fmt.Sprintf("%.1f MiB (%.1f at most) and %.3f %% of a core", f.mean, f.max, f.share*100)
}

// measure watches two processes. Memory is the mean of the second half, when each has
// done everything that it does; processor time counts from the start.
func measure(b *testing.B, long time.Duration, ours int, theirs exporter) (agent, exp footprint) {
	b.Helper()
	sample := time.NewTicker(5 * time.Second)
	defer sample.Stop()
	began, n := time.Now(), 0
	for i := 1; time.Since(began) < long; i++ {
		<-sample.C
		if i%3 == 0 {
			theirs.scrape(b)
		}
		a, e := pss(b, ours), pss(b, theirs.pid)
		agent.max, exp.max = max(agent.max, a), max(exp.max, e)
		if time.Since(began) >= long/2 {
			agent.mean, exp.mean, n = agent.mean+a, exp.mean+e, n+1
		}
	}
	agent.mean, exp.mean = agent.mean/float64(n), exp.mean/float64(n)
	agent.share = processor(b, ours) / time.Since(began).Seconds()
	exp.share = processor(b, theirs.pid) / time.Since(began).Seconds()
	return agent, exp
}

// backlog puts a day's runs of twelve tasks a minute into the machine's spool, and
// says how many.
func backlog(b *testing.B, s *server, folder string) int {
	b.Helper()
	f, err := fleet.New(fleet.Options{Agents: 1, Address: s.agents, Dir: folder, OnDisk: true})
	if err != nil {
		b.Fatal(err)
	}
	load := &fleet.Load{States: 48, Results: 4, Metrics: 4, Start: time.Now().Add(-24 * time.Hour).Truncate(time.Minute), Interval: time.Minute}
	n := 24 * 60 * load.Tasks()
	for _, step := range []func() error{
		func() error { return f.Join(b.Context()) },
		func() error { return f.Start(b.Context()) },
		func() error { return f.Drive(load) },
		func() error { return f.Once(n) },
		f.Stop,
	} {
		if err := step(); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// drain runs the agent until its spool is empty and a minute longer. It answers its
// memory then, the most that there was, and how long the drain took.
func drain(b *testing.B, m *machine, runs int) (after, most float64, took time.Duration) {
	b.Helper()
	m.run()
	m.connected()
	began := time.Now()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for ; ; <-ticker.C {
		most = max(most, pss(b, m.cmd.Process.Pid))
		st := m.status()
		if st.Connected && st.Spool.Runs < 20 {
			break
		}
		if time.Since(began) > 10*time.Minute {
			b.Fatalf("%d of %d runs are left after %v", st.Spool.Runs, runs, time.Since(began))
		}
	}
	took = time.Since(began)
	if st := m.status(); st.Spool.Dropped+st.Spool.Lost+st.Spool.Refused+st.Spool.Damaged > 0 {
		b.Errorf("not all of the backlog came: %+v", st.Spool)
	}
	time.Sleep(time.Minute)
	after = pss(b, m.cmd.Process.Pid)
	m.stop()
	return after, most, took
}

// exporter is Debian's node exporter.
type exporter struct {
	pid int
	url string
}

func startExporter(b *testing.B) exporter {
	b.Helper()
	path, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		b.Skip("prometheus-node-exporter is not installed (Debian: apt-get install prometheus-node-exporter)")
	}
	addr := freeAddress(b)
	cmd := exec.CommandContext(b.Context(), path, "--web.listen-address="+addr)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
	})
	e := exporter{cmd.Process.Pid, "http://" + addr + "/metrics"}
	await(b, "the node exporter", func() bool { return e.get(b.Context()) == nil })
	return e
}

// freeAddress is one that nobody listens at now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (e exporter) scrape(b *testing.B) {
	b.Helper()
	if err := e.get(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (e exporter) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// pss is a process's proportional set size in MiB.
func pss(t testing.TB, pid int) float64 {
	t.Helper()
	text := proc(t, pid, "smaps_rollup")
	_, after, _ := strings.Cut(text, "\nPss:")
	return number(strings.Fields(after)[0]) / 1024
}

// processor is the processor time that a process has used, in seconds.
func processor(t testing.TB, pid int) float64 {
	t.Helper()
	stat := proc(t, pid, "stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const hertz = 100 // USER_HZ, on every architecture that Go runs on
	return (number(fields[11]) + number(fields[12])) / hertz
}

func proc(t testing.TB, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64) // the kernel's own figures
	return n
}
