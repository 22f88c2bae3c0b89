//go:build unix

package history

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// helperEnv tells the test binary, run again, to play a part.
const helperEnv = "WACHT_HISTORY_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "writer":
		writeUntilKilled(os.Args[1])
	case "limited":
		writeBeyondLimit(os.Args[1])
	default:
		os.Exit(m.Run())
	}
}

func helper(t *testing.T, part string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+part)
	cmd.Stderr = os.Stderr
	return cmd
}

const writerSeries = 20

// writeUntilKilled says after each Sync how many ticks are durable.
func writeUntilKilled(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		panic(err)
	}
	var series []*Series
	for i := range writerSeries {
		of := disk
		of.Item = fmt.Sprint(i)
		series = append(series, s.Series("free_bytes", of))
	}
	start := now() - 3600_000
	fmt.Println(start)
	for i := 0; ; i++ {
		b := s.Begin()
		for _, one := range series {
			if err := b.Append(one, at(start, i), float64(i)); err != nil {
				panic(err)
			}
		}
		if err := b.Commit(); err != nil {
			panic(err)
		}
		if i%3 == 2 {
			if err := s.Sync(); err != nil {
				panic(err)
			}
			fmt.Println(i + 1)
		}
	}
}

// TestKilledProcessKeepsWhatWasSynced kills a writer at random points.
func TestKilledProcessKeepsWhatWasSynced(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 4 {
		dir := t.TempDir()
		start, durable := killWriter(t, dir, 1+random.IntN(400))
		s := openTest(t, dir, Options{})
		if s.Damage() != nil {
			t.Errorf("damage: %+v", s.Damage())
		}
		got := all(t, s)
		if len(got) != writerSeries {
			t.Fatalf("%d series, want %d", len(got), writerSeries)
		}
		for name, samples := range got {
			for i := range durable {
				if v, ok := samples[at(start, i)]; !ok || v != float64(i) {
					t.Fatalf("%s at tick %d of %d durable ones: %v, %v", name, i, durable, v, ok)
				}
			}
		}
	}
}

// killWriter runs a writer for so many syncs, kills it, and returns its start and how
// many ticks it said were durable.
func killWriter(t *testing.T, dir string, syncs int) (start int64, durable int) {
	t.Helper()
	cmd := helper(t, "writer", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	if _, err := fmt.Fscan(in, &start); err != nil {
		t.Fatal(err)
	}
	for range syncs {
		if _, err := fmt.Fscan(in, &durable); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break // what lies behind the last end of line was torn by the kill
		}
		if _, err := fmt.Sscan(line, &n); err == nil {
			durable = n
		}
	}
	cmd.Wait()
	return start, durable
}
