//go:build unix

package spool

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// fillFullDisk runs in a process whose files may not grow past 96 KiB, which a
// write then sees as it sees a full disk.
func fillFullDisk(dir string) int {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 96 << 10, Max: 96 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := Open(Options{Dir: dir, MemoryBytes: 64 << 10})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for i := range 2000 {
		if err := s.Append(testRun(i + 1)); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	s.Resume(nil)
	live := s.Live(10, 1<<20)
	runs, missing := drain(s)
	st := s.Stats()
	for _, e := range live.Entries {
		runs[runID{live.Epoch, e.Sequence}] = true
	}
	if !st.DiskFailing || len(runs)+len(missing) != 2000 || len(runs) < 100 || int(st.Dropped) != len(missing) {
		fmt.Printf("%d runs, %d missing, %+v\n", len(runs), len(missing), st)
		return 1
	}
	fmt.Printf("%d runs, %d missing, %+v\n", len(runs), len(missing), st)
	return 0
}

// On a full disk the newest runs stay in memory, and those that are dropped are counted.
func TestFullDisk(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=full:"+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}
