package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An agent whose disk is full goes on: what is live arrives, what has to wait waits
// in memory, it says so, and it stores again when there is room.
func TestAgentWithFullDisk(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everySecond})
	point := tmpfs(t, 8)
	m := join(t, s, filepath.Join(point, "state"), only("disk"))
	m.run()
	await(t, "results", func() bool { return m.status().Connected && s.host(m.host).States > 0 })
	fill(t, point, 0)
	flows(t, s, m)
	s.stop()
	await(t, "the agent saying that its disk fails", func() bool { return m.status().Spool.DiskFailing })
	await(t, "runs in memory", func() bool { return m.status().Spool.Runs >= 5 })
	if st := m.status().Spool; st.Dropped > 0 || st.Lost > 0 {
		t.Errorf("with a full disk: %+v", st)
	}
	s.start()
	await(t, "an empty spool", func() bool { st := m.status(); return st.Connected && st.Spool.Runs <= 1 })
	flows(t, s, m)
	empty(t, point)
	s.stop()
	await(t, "runs on disk again", func() bool { st := m.status().Spool; return !st.DiskFailing && st.OnDisk > 0 })
	s.start()
	await(t, "an empty spool", func() bool { st := m.status(); return st.Connected && st.Spool.OnDisk == 0 && st.Spool.Runs <= 1 })
	if lost := s.figure("wacht_collector_runs_lost_total"); lost != 0 {
		t.Errorf("%v runs are lost", lost)
	}
	if !m.running() {
		t.Fatal("the agent has ended")
	}
	m.stop()
}

// flows waits for newer results of a machine.
func flows(t *testing.T, s *server, m *machine) {
	t.Helper()
	seen := s.host(m.host).LastSeen
	await(t, "newer results", func() bool { return s.host(m.host).LastSeen.After(seen.Add(2 * time.Second)) })
}

// A collector whose disk is full goes on: it acknowledges nothing that it can't keep,
// agents hold that, and it takes it in when there is room. With some room left, but
// less than history needs, it still judges what comes.
func TestCollectorWithFullDisk(t *testing.T) {
	t.Parallel()
	point := tmpfs(t, 400)
	s := serve(t, options{policy: everySecond, data: filepath.Join(point, "data")})
	m := join(t, s, "", only("disk"))
	m.run()
	await(t, "results", func() bool { return m.status().Connected && s.host(m.host).States > 0 })

	fill(t, point, 0)
	await(t, "runs that the agent holds", func() bool { return m.status().Spool.Runs >= 8 })
	if body := s.fetch("/readyz"); !s.running() || !strings.Contains(body, "503") {
		t.Errorf("with a full disk the collector runs: %v; /readyz is %s", s.running(), body)
	}
	if body := s.fetch("/healthz"); !strings.Contains(body, "ok") {
		t.Errorf("with a full disk /healthz is %s", body)
	}
	empty(t, point)
	began := time.Now()
	await(t, "an empty spool", func() bool { st := m.status(); return st.Connected && st.Spool.Runs <= 1 })
	t.Logf("with room again all was taken in after %s", seconds(time.Since(began)))

	fill(t, point, 100<<10)
	began = time.Now()
	flows(t, s, m)
	flows(t, s, m)
	t.Logf("with 100 MiB left: 4 s of results took %s to be judged", seconds(time.Since(began)))
	empty(t, point)
	await(t, "an empty spool", func() bool { st := m.status(); return st.Connected && st.Spool.Runs <= 1 })
	if lost := s.figure("wacht_collector_runs_lost_total"); lost != 0 {
		t.Errorf("%v runs are lost", lost)
	}
	m.stop()
	s.stop()
}
