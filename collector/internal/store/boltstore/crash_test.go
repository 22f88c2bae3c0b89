package boltstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// seed repeats a test with WACHT_SEED, and is printed.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("WACHT_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WACHT_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// child starts this binary as another process.
func child(t *testing.T, task, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, path)
	c.Env = append(os.Environ(), childTask+"="+task)
	return c
}

var numbers, lastNumber = &store.Table{Name: "numbers"}, &store.Table{Name: "last"}

func numberWrites(i int) []store.Write {
	key := fmt.Sprintf("%010d", i)
	return []store.Write{
		{Table: numbers, Row: store.Row{Customer: "c", Key: key, Value: bytes.Repeat([]byte(key), 1+i%50)}},
		{Table: lastNumber, Row: store.Row{Customer: "c", Key: "last", Value: []byte(key)}},
		{Table: numbers, Row: store.Row{Customer: "scratch", Key: strconv.Itoa(i * 7919 % 100), Value: []byte(key)}},
	}
}

// commitForEver commits number after number and says each one once it is committed.
func commitForEver(path string) error {
	s, _, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	next, err := last(s)
	if err != nil {
		return err
	}
	for {
		next++
		if err := s.Commit(context.Background(), nil, numberWrites(next)); err != nil {
			return err
		}
		fmt.Println(next)
	}
}

func last(s *boltstore.Store) (int, error) {
	value, err := s.Get(context.Background(), lastNumber, "c", "last")
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

// TestKill kills a process that commits, with -9 at random moments: all that it
// acknowledged is there, each commit whole, and the file is sound.
func TestKill(t *testing.T) {
	random := seed(t)
	path := filepath.Join(t.TempDir(), "store.db")
	acknowledged := 0
	for round := range 15 {
		acknowledged = max(acknowledged, killAfter(t, path, 1+random.IntN(60), time.Duration(random.IntN(2000))*time.Microsecond))
		s := open(t, path)
		found := countNumbers(t, s)
		if n, err := last(s); err != nil || n != found {
			t.Fatalf("round %d: %d numbers and the last is %d (%v)", round, found, n, err)
		}
		if found < acknowledged || found > acknowledged+1 {
			t.Fatalf("round %d: %d were acknowledged, %d are there", round, acknowledged, found)
		}
		acknowledged = found
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkBolt(t, path)
	}
	t.Logf("%d commits survived 15 kills", acknowledged)
}

// killAfter kills the child some time after it acknowledged so many commits, and
// returns the last acknowledged number.
func killAfter(t *testing.T, path string, commits int, then time.Duration) int {
	t.Helper()
	c := child(t, "commit", path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	number := 0
	for lines.Scan() {
		if number, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if commits--; commits == 0 {
			time.AfterFunc(then, func() { _ = c.Process.Kill() })
		}
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	return number
}

func countNumbers(t *testing.T, s *boltstore.Store) (count int) {
	t.Helper()
	for row, err := range s.Scan(t.Context(), numbers, "c", store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		if key := fmt.Sprintf("%010d", count); row.Key != key || !bytes.HasPrefix(row.Value, []byte(key)) {
			t.Fatalf("row %d is %s = %.20s", count, row.Key, row.Value)
		}
	}
	return count
}

// checkBolt has bbolt check its file, as the command bbolt check does.
func checkBolt(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// hold has the file open until its input ends.
func hold(path string) error {
	s, _, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

func TestAnotherProcessHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	c := child(t, "hold", path)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatal(line, err)
	}
	_, _, err = boltstore.Open(path, boltstore.Options{SetAside: true})
	if !errors.Is(err, boltstore.ErrInUse) || !strings.Contains(err.Error(), path+": another collector has it open") {
		t.Errorf("opening: %v", err)
	}
	_, err = boltstore.Restore(strings.NewReader(""), path, boltstore.RestoreOptions{Replace: true})
	if !errors.Is(err, boltstore.ErrInUse) {
		t.Errorf("restoring: %v", err)
	}
	if err := errors.Join(in.Close(), c.Wait()); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}
