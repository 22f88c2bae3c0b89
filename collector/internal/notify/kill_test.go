package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/notify/webhook"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/boltstore"
)

// childURL, when set, makes the test binary a sender that tells this URL.
const childURL = "WACHT_NOTIFY_TEST_CHILD"

func TestMain(m *testing.M) {
	url, asked := os.LookupEnv(childURL)
	if !asked {
		os.Exit(m.Run())
	}
	first, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = tellForEver(os.Args[1], url, first)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// incidents is how many incidents the child tells of in turn.
const incidents = 5

// tellForEver commits notice after notice and says the number of each one before, with
// a question mark, and once it is committed; a real sender posts them.
func tellForEver(folder, url string, first int) error {
	s, _, err := boltstore.Open(filepath.Join(folder, "store.db"), boltstore.Options{})
	if err != nil {
		return err
	}
	router, sender, err := senderTo(url, folder, s)
	if err != nil {
		return err
	}
	ctx := context.Background()
	go func() { _ = sender.Run(ctx) }()
	for i := first; ; i++ {
		deliveries := router.Route(time.Now(), told(fmt.Sprint("INC-", i%incidents), i, "reopened"))
		w, err := deliveries[0].Write()
		if err != nil {
			return err
		}
		fmt.Printf("%d?\n", i)
		if err := s.Commit(ctx, nil, []store.Write{w}); err != nil {
			return err
		}
		sender.Wake(deliveries)
		fmt.Println(i)
	}
}

func senderTo(url, folder string, s store.Store) (*Router, *Sender, error) {
	config := Config{{
		Common:  Common{Name: "hook", Type: "webhook"},
		Options: &webhook.Options{URL: url, SecretFile: filepath.Join(folder, "secret"), AllowPrivate: true},
	}}
	channels, err := config.Open(notice.Env{UserAgent: "wacht"})
	if err != nil {
		return nil, nil, err
	}
	sender, err := NewSender(SenderOptions{
		Config: config, Channels: channels, Reader: s, Commit: direct{s},
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry(),
	})
	return NewRouter(config), sender, err
}

// receiver counts what arrives.
type receiver struct {
	mu    sync.Mutex
	count map[int]int
	keys  map[int]string
	// newest is the last new revision of each incident.
	newest   map[string]int
	problems []string
	// arrived says that something new is there.
	arrived chan struct{}
}

// has says whether all of these notices arrived.
func (r *receiver) has(numbers []int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(numbers, func(i int) bool { return r.count[i] == 0 })
}

func (r *receiver) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	var body webhook.Body
	err := json.NewDecoder(request.Body).Decode(&body)
	r.mu.Lock()
	defer r.mu.Unlock()
	in := body.Incident
	r.count[in.Revision]++
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	switch was := r.keys[in.Revision]; {
	case err != nil || request.Header.Get("Idempotency-Key") != body.Key:
		r.problems = append(r.problems, fmt.Sprint("a bad request: ", err))
	case was != "" && was != body.Key:
		r.problems = append(r.problems, fmt.Sprintf("notice %d came with two keys", in.Revision))
	case was == "" && in.Revision < r.newest[in.Number]:
		r.problems = append(r.problems, fmt.Sprintf("%s: %d came after %d", in.Number, in.Revision, r.newest[in.Number]))
	}
	r.keys[in.Revision], r.newest[in.Number] = body.Key, max(in.Revision, r.newest[in.Number])
}

// TestKill kills the sender's process with -9 at random moments: each notice that was
// committed arrives, in the order of its incident, under one key, and a kill repeats
// at most the one delivery that the channel had under way.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("WACHT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WACHT_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := &receiver{count: map[int]int{}, keys: map[int]string{}, newest: map[string]int{}, arrived: make(chan struct{}, 1)}
	server := httptest.NewServer(got)
	defer server.Close()
	const kills = 10
	var committed []int
	last := 0
	for range kills {
		// What was killed at its commit may be in the outbox: it is not told a second time.
		var more []int
		more, last = tellAndKill(t, folder, server.URL, last+1, 1+random.IntN(80))
		committed = append(committed, more...)
	}
	drain(t, folder, server.URL, got, committed)

	extra := 0
	for _, n := range got.count {
		extra += n - 1
	}
	if len(got.problems) > 0 || extra > kills {
		t.Errorf("%d repeated after %d kills; %v", extra, kills, got.problems)
	}
	t.Logf("%d notices, %d kills, %d repeated", len(committed), kills, extra)
}

// tellAndKill runs the child until it committed so many notices, and returns those that
// it committed and the last that it began.
func tellAndKill(t *testing.T, folder, url string, first, count int) (committed []int, last int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, folder, strconv.Itoa(first))
	c.Env = append(os.Environ(), childURL+"="+url)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	last = first - 1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		number, begun := strings.CutSuffix(lines.Text(), "?")
		if last, err = strconv.Atoi(number); err != nil {
			t.Fatal(err)
		}
		if begun {
			continue
		}
		if committed = append(committed, last); len(committed) > count {
			_ = c.Process.Kill()
		}
	}
	_ = c.Wait()
	return committed, last
}

// drain sends what is left in the outbox, until all that was committed arrived.
func drain(t *testing.T, folder, url string, got *receiver, committed []int) {
	t.Helper()
	s, _, err := boltstore.Open(filepath.Join(folder, "store.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, sender, err := senderTo(url, folder, s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	for !got.has(committed) {
		<-got.arrived
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
