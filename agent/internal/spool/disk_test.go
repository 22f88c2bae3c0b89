package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
)

func testRun(n int) *checkpb.Run {
	return &checkpb.Run{
		Check: "disk", Instance: fmt.Sprint(n % 3), PlannedMs: int64(n),
		Results: []*checkpb.Result{{Item: "/var", Summary: fmt.Sprint(n), Evidence: strings.Repeat("x", 200)}},
	}
}

func open(t *testing.T, opts Options) *Spool {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.crash() })
	return s
}

// abandonedDir is a folder for a damaged file that bbolt goes on holding, as it is
// left: Windows does not delete such a file, and so is not asked to.
func abandonedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spool-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && runtime.GOOS != "windows" {
			t.Error(err)
		}
	})
	return dir
}

func fill(t *testing.T, s *Spool, n int) {
	t.Helper()
	for i := range n {
		if err := s.Append(testRun(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// drain takes all runs of both lanes and acknowledges them.
func drain(s *Spool) (runs map[runID]bool, missing map[runID]agentpb.Gap_Reason) {
	runs, missing = map[runID]bool{}, map[runID]agentpb.Gap_Reason{}
	for idle := 0; idle < 2; idle++ {
		for _, g := range s.Gaps() {
			for sequence := g.GetFrom(); sequence <= g.GetTo(); sequence++ {
				missing[runID{g.GetEpoch(), sequence}] = g.GetReason()
			}
		}
		for lane, next := range []func(int, int) Batch{s.Live, s.Backlog} {
			for b := next(100, 1<<20); len(b.Entries) > 0; b = next(100, 1<<20) {
				idle = -1
				for _, e := range b.Entries {
					runs[runID{b.Epoch, e.Sequence}] = true
				}
				last := b.Entries[len(b.Entries)-1].Sequence
				s.Ack(&agentpb.Cursor{Epoch: b.Epoch, Lane: agentpb.Lane(lane), Archived: last})
			}
		}
	}
	return runs, missing
}

// What is acknowledged in time never reaches the disk; the rest does after 5 s.
func TestMemoryFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Dir: t.TempDir()})
		s.Resume(nil)
		fill(t, s, 3)
		b := s.Live(2, 1<<20)
		time.Sleep(4 * time.Second)
		s.Ack(&agentpb.Cursor{Epoch: b.Epoch, Archived: 2})
		synctest.Wait()
		if st := s.Stats(); st.Runs != 1 || st.OnDisk != 0 {
			t.Errorf("after 4 s: %+v", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Runs != 1 || st.OnDisk != 1 {
			t.Errorf("after 6 s: %+v", st)
		}
		s.Live(9, 1<<20)
		s.Ack(&agentpb.Cursor{Epoch: b.Epoch, Archived: 3})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Runs != 0 {
			t.Errorf("after all is acknowledged: %+v", st)
		}
	})
}

// In the LIVE lane the newest run of each task goes first, however long the backlog.
func TestNewestOfEveryTaskFirst(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	fill(t, s, 1000)
	s.Resume(nil)
	b := s.Live(100, 1<<20)
	if len(b.Entries) != 3 || b.Entries[0].Sequence != 998 {
		t.Errorf("LIVE began with %d runs from %d", len(b.Entries), b.Entries[0].Sequence)
	}
	fill(t, s, 1)
	if b := s.Live(100, 1<<20); len(b.Entries) != 1 || b.Entries[0].Sequence != 1001 {
		t.Errorf("LIVE went on with %+v", b)
	}
	if b := s.Backlog(100, 1<<20); b.Entries[0].Sequence != 1 {
		t.Errorf("BACKLOG began with %d", b.Entries[0].Sequence)
	}
}

func TestFreshFileAfterDrain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	fill(t, s, 20000)
	s.Disconnected()
	grown := s.Stats().FileBytes
	s.Resume(nil)
	runs, missing := drain(s)
	s.Disconnected()
	st := s.Stats()
	if len(runs) != 20000 || len(missing) != 0 || st.Runs != 0 {
		t.Errorf("%d runs, %d missing, %+v", len(runs), len(missing), st)
	}
	if grown < 4<<20 || st.FileBytes > 128<<10 {
		t.Errorf("the file grew to %d bytes and is %d after the drain", grown, st.FileBytes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
}

func TestOwner(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Owner: "first"})
	fill(t, s, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir, Owner: "second"})
	if st := s.Stats(); st.Runs != 0 || len(s.Epochs()) != 1 {
		t.Errorf("another owner sees %+v", st)
	}
	fill(t, s, 10)
	if err := s.Reset("third"); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Runs != 0 || len(s.Epochs()) != 1 {
		t.Errorf("after a reset: %+v", st)
	}
}

// An agent in a crash loop while the collector is away names a bounded number of epochs.
func TestEpochsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxEpochs + 20 {
		s := open(t, Options{Dir: dir, BootID: "b"})
		if i%2 == 0 {
			fill(t, s, 1)
			s.Disconnected()
		}
		s.crash()
	}
	s := open(t, Options{Dir: dir, BootID: "b"})
	if n := len(s.Epochs()); n > maxEpochs {
		t.Errorf("%d epochs", n)
	}
	s.Resume(nil)
	if runs, _ := drain(s); len(runs) < maxEpochs/2 {
		t.Errorf("%d runs are left", len(runs))
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	if s, err := Open(Options{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("Open of a spool in use: %v, %v", s, err)
	}
}

// A power cut takes the page cache along: the gap is bounded by the reservation,
// and the newest number is never below one that was given out.
func TestPowerCutIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, BootID: "one"})
	epoch := s.Epochs()[0].GetEpoch()
	fill(t, s, 40)
	s.Disconnected()
	fill(t, s, 10)
	mark, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil {
		t.Fatal(err)
	}
	s.crash()
	// The mark on disk is older than what the process had last written.
	if err := os.Truncate(filepath.Join(dir, markName), int64(len(mark)/2)); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir, BootID: "two"})
	if r := s.Epochs()[0]; r.GetEpoch() != epoch || r.GetNewest() < 50 || r.GetNewest() > 50+reserveStep {
		t.Errorf("after a power cut the newest is %v", r)
	}
	s.Resume([]*agentpb.Cursor{{Epoch: epoch, Archived: 45}})
	runs, missing := drain(s)
	if len(runs) != 40 || len(missing) > reserveStep {
		t.Errorf("%d runs, %d missing", len(runs), len(missing))
	}
	for sequence := uint64(46); sequence <= 50; sequence++ {
		if missing[runID{epoch, sequence}] != agentpb.Gap_LOST {
			t.Errorf("run %d is not in the gap", sequence)
		}
	}
	if _, known := missing[runID{epoch, 45}]; known {
		t.Error("a run that the collector has is in the gap")
	}
}

// A flipped byte on any page: the spool opens, the runs that are missing are in a
// gap, and none has another content.
func TestFlippedBytes(t *testing.T) {
	golden := t.TempDir()
	s := open(t, Options{Dir: golden, BootID: "b"})
	epoch := s.Epochs()[0].GetEpoch()
	fill(t, s, 150)
	s.Disconnected()
	s.crash()
	db, err := os.ReadFile(filepath.Join(golden, storeName))
	if err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(filepath.Join(golden, markName))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	aside := 0
	for at := 0; at < len(db); at += 1 + rnd.IntN(600) {
		dir := abandonedDir(t)
		bad := bytes.Clone(db)
		bad[at] ^= byte(1 + rnd.IntN(255))
		writeFile(t, filepath.Join(dir, storeName), bad)
		writeFile(t, filepath.Join(dir, markName), mark)
		s := open(t, Options{Dir: dir, BootID: "b"})
		fill(t, s, 5)
		s.Resume(nil)
		runs, missing := drain(s)
		for sequence := uint64(1); sequence <= 150; sequence++ {
			id := runID{epoch, sequence}
			if _, gap := missing[id]; gap == runs[id] {
				t.Fatalf("seed %d: byte %d flipped: run %d arrived: %v, in a gap: %v", seed, at, sequence, runs[id], gap)
			}
		}
		if kept, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*")); len(kept) > 0 {
			aside++
		}
		s.crash()
	}
	t.Logf("seed %d: %d files were set aside", seed, aside)
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Pages that go bad under a running agent: it lives, and goes on in a fresh file.
func TestDamagedWhileRunning(t *testing.T) {
	dir := abandonedDir(t)
	s := open(t, Options{Dir: dir})
	fill(t, s, 2000)
	s.Disconnected()
	f, err := os.OpenFile(filepath.Join(dir, storeName), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, 4096)
	for i := range junk {
		junk[i] = 0xEE
	}
	for page := int64(2); page < 40; page++ {
		if _, err := f.WriteAt(junk, page*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10)
	s.Resume(nil)
	runs, missing := drain(s)
	if len(runs)+len(missing) != 2010 || len(missing) == 0 {
		t.Errorf("%d runs and %d missing of 2010", len(runs), len(missing))
	}
	fill(t, s, 10)
	s.Disconnected()
	if st := s.Stats(); st.DiskFailing || st.OnDisk != 10 {
		t.Errorf("afterwards: %+v", st)
	}
}

// What a verifier passes, bbolt can open and read.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 60 {
		_ = s.Append(testRun(i))
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, storeName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(4096*3), []byte{1, 2, 3})
	f.Add(uint32(20), []byte{0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		bad := append([]byte(nil), good...)
		copy(bad[int(at)%len(bad):], patch)
		path := filepath.Join(abandonedDir(t), storeName)
		writeFile(t, path, bad)
		if verifyFile(path) != nil {
			return
		}
		st, err := openStore(path, DefaultMaxBytes)
		if err != nil {
			return
		}
		_ = st.view(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketRuns).ForEach(func(_, v []byte) error { _, _ = decodeRecord(nil, v); return nil })
		})
	})
}

func FuzzRecords(f *testing.F) {
	f.Add(encodeRecord(nil, []byte("run")))
	f.Add((&epochRecord{epoch: 1, reserved: 512, live: []uint64{3, 4, 5, 9}}).encode(nil))
	f.Add(gaps{{ordinal: 1, from: 2, to: 3}}.encode())
	f.Add((&mark{epochs: []markedEpoch{{1, 2, 3, 4}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if payload, err := decodeRecord(nil, b); err == nil && !bytes.Equal(encodeRecord(nil, payload), b) {
			t.Error("a record does not round-trip")
		}
		_, _ = decodeRun(b)
		if r, err := decodeEpochRecord(nil, b); err == nil {
			if again, err := decodeEpochRecord(nil, r.encode(nil)); err != nil || again.epoch != r.epoch || len(again.live) != len(r.live) {
				t.Errorf("an epoch does not round-trip: %v", err)
			}
		}
		if g, err := decodeGaps(b); err == nil && !bytes.Equal(g.encode(), b) {
			t.Error("gaps do not round-trip")
		}
		_, _ = decodeMark(b)
	})
}

const childEnv = "WACHT_SPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch what, dir, _ := strings.Cut(os.Getenv(childEnv), ":"); what {
	case "append":
		appendForever(dir)
	case "full":
		os.Exit(fillFullDisk(dir))
	}
	os.Exit(m.Run())
}

// appendForever appends until it is killed, telling each run's number once Append
// has returned.
func appendForever(dir string) {
	s, err := Open(Options{Dir: dir, BootID: "b"})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("epoch", s.running().id)
	for i := 1; ; i++ {
		if err := s.Append(testRun(i)); err != nil {
			os.Exit(1)
		}
		fmt.Println("run", i)
		if i%97 == 0 {
			s.Disconnected()
		}
	}
}

// After kill -9 what is missing is named exactly: every run is on disk or in a gap.
func TestKill(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=append:"+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var epoch, told uint64
		lines := bufio.NewScanner(out)
		for stop := uint64(50 + rand.IntN(800)); told < stop && lines.Scan(); {
			_, _ = fmt.Sscanf(lines.Text(), "epoch %d", &epoch)
			_, _ = fmt.Sscanf(lines.Text(), "run %d", &told)
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "run %d", &told)
		}
		_ = cmd.Wait()
		s := open(t, Options{Dir: dir, BootID: "b"})
		newest := s.Epochs()[0].GetNewest()
		if newest < told || newest > told+1 {
			t.Errorf("%d runs were told, and the newest is %d", told, newest)
		}
		s.Resume(nil)
		runs, missing := drain(s)
		if len(runs)+len(missing) != int(newest) {
			t.Errorf("%d runs on disk and %d in gaps of %d", len(runs), len(missing), newest)
		}
		for id, reason := range missing {
			if reason != agentpb.Gap_LOST || runs[id] {
				t.Errorf("run %v: %v", id, reason)
			}
		}
		t.Logf("killed after run %d: %d on disk, %d lost", told, len(runs), len(missing))
	}
}
