package e2e

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// everySecond lets disks be looked at every second.
const everySecond = "- match: {}\n  checks:\n    disk: {interval: 1s}\n"

// An agent that is killed comes back, with what it had on its disk; what it had not
// is told as lost, and its incidents go on.
func TestKillAgent(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := serve(t, options{policy: everySecond})
	point := tmpfs(t, 64)
	m := join(t, s, "", only("disk"))
	m.run()
	await(t, "the filesystem", func() bool { return s.level(m.host, point) == "ok" })
	fill(t, point, 1024)
	in := awaitState(t, s, point, "open")
	const kills = 6
	for range kills {
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		m.kill()
		m.run()
		m.connected()
	}
	seen := s.host(m.host).LastSeen
	await(t, "a result after the kills", func() bool { return s.host(m.host).LastSeen.After(seen.Add(time.Second)) })
	if all := s.incidents(point); len(all) != 1 || all[0].Occurrences != 1 || all[0].Number != in.Number || all[0].State != "open" {
		t.Errorf("after %d kills the incidents are %+v", kills, all)
	}
	t.Logf("%d kills: %.0f runs lost, of about %.0f", kills, s.figure("wacht_collector_runs_lost_total"), s.figure("wacht_collector_results_total"))
	empty(t, point)
	if got := awaitState(t, s, point, "resolved"); got.Number != in.Number || got.Occurrences != 1 {
		t.Errorf("it resolved as %s with %d occurrences", got.Number, got.Occurrences)
	}
}

// What an agent had on its disk when it was killed comes when the collector is back,
// and what it had not is a gap of the same size.
func TestKillAgentWhileCollectorIsAway(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everySecond})
	m := join(t, s, "", only("disk"))
	m.run()
	await(t, "a result", func() bool { return s.host(m.host).States > 0 })
	s.stop()
	await(t, "runs on the agent's disk", func() bool { return m.status().Spool.OnDisk >= 3 })
	// The group after it is in memory for up to five seconds.
	before := m.status().Spool
	await(t, "runs in memory alone", func() bool {
		now := m.status().Spool
		before = now
		return now.Runs-now.OnDisk >= 2
	})
	m.kill()
	s.start()
	m.run()
	m.connected()
	await(t, "the finding", func() bool { return s.finding(m.host, "runs are lost: the agent ended before they were on its disk") })
	lost := int64(s.figure("wacht_collector_runs_lost_total"))
	// What was planned between the last look and the kill may be lost too.
	if inMemory := before.Runs - before.OnDisk; lost < inMemory || lost > inMemory+2 {
		t.Errorf("%d runs are told as lost; %d were in memory", lost, inMemory)
	}
	await(t, "an empty spool", func() bool { st := m.status(); return st.Connected && st.Spool.OnDisk == 0 })
	t.Logf("killed with %d runs on disk and %d in memory: %d told as lost, the others came", before.OnDisk, before.Runs-before.OnDisk, lost)
}

// A copied state folder gets an identity of its own, and its original is left alone.
func TestCloneOnOneMachine(t *testing.T) {
	t.Parallel()
	s := serve(t, options{policy: everySecond})
	m := join(t, s, "", only("disk"))
	m.run()
	await(t, "results of the original", func() bool { return m.status().Connected && s.host(m.host).States > 0 })
	clone := *m
	clone.state = filepath.Join(t.TempDir(), "copy")
	copyFolder(t, m.state, clone.state)
	time.Sleep(2 * time.Second) // the original goes beyond what the copy knows
	clone.run()
	await(t, "an identity of its own", func() bool { return clone.hostID() != m.host })
	clone.host = clone.hostID()
	clone.connected()
	await(t, "results of the copy", func() bool { return s.host(clone.host).States > 0 })
	seen := s.host(m.host).LastSeen
	await(t, "results of the original", func() bool { return s.host(m.host).LastSeen.After(seen) })
	if m.hostID() != m.host || !s.host(m.host).Connected || !s.host(clone.host).Connected {
		t.Errorf("the original %s is connected: %v; the copy %s: %v", m.hostID(), s.host(m.host).Connected, clone.host, s.host(clone.host).Connected)
	}
	if lost := s.figure("wacht_collector_runs_lost_total"); lost != 0 {
		t.Errorf("%v runs are lost", lost)
	}
	hosts := s.order("host", "list")
	t.Logf("hosts after the copy ran:\n%s", hosts)
}

// copyFolder copies what backups and golden images do: files, not sockets. A file
// that is being written is copied as it is.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
