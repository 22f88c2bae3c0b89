package collectortest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/webhook"
)

// Told is one arrival of a notice at a Receiver.
type Told struct {
	At time.Time
	// Key is the idempotency key: the same for every arrival of one notice.
	Key      string
	Event    string
	Incident Incident
	// Problem is what it tells of instead of an incident.
	Problem *problem.Problem
}

// Receiver is a webhook that takes every notice in and checks its signature.
type Receiver struct {
	t       testing.TB
	server  *httptest.Server
	secret  string
	file    string
	arrived func(Told)

	mu   sync.Mutex
	told []Told
}

// Receive starts a receiver, which ends with the test. arrived, unless it is nil, is
// called for each arrival.
func Receive(t testing.TB, arrived func(Told)) *Receiver {
	t.Helper()
	r := &Receiver{t: t, secret: rand.Text(), arrived: arrived}
	r.file = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(r.file, []byte(r.secret), 0o600); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(r.server.Close)
	return r
}

// Config is the section notify of a collector's file that tells this receiver of the
// given customers' incidents, or of everybody's.
func (r *Receiver) Config(customers ...string) string {
	text := fmt.Sprintf("notify:\n  - name: receiver\n    type: webhook\n    url: %s\n    secret_file: %s\n    allow_private: true\n",
		r.server.URL, r.file)
	if len(customers) > 0 {
		text += "    customers: [" + strings.Join(customers, ", ") + "]\n"
	}
	return text
}

// Told returns what has arrived, in order.
func (r *Receiver) Told() []Told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Told(nil), r.told...)
}

func (r *Receiver) take(w http.ResponseWriter, req *http.Request) {
	at := time.Now()
	var b webhook.Body
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &b)
	}
	if err == nil {
		err = r.signed(req, body)
	}
	if err != nil {
		r.t.Errorf("a notice arrived that can't be read: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	told := Told{At: at, Key: req.Header.Get("Idempotency-Key"), Event: b.Event, Incident: b.Incident, Problem: b.Problem}
	r.mu.Lock()
	r.told = append(r.told, told)
	r.mu.Unlock()
	if r.arrived != nil {
		r.arrived(told)
	}
}

// signed checks the signature as a receiver is told to.
func (r *Receiver) signed(req *http.Request, body []byte) error {
	given := req.Header.Get("Wacht-Signature")
	stamp, _, _ := strings.Cut(strings.TrimPrefix(given, "t="), ",")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("the signature %q has no time: %w", given, err)
	}
	if want := webhook.Sign([]byte(r.secret), time.Unix(seconds, 0), body); given != want {
		return fmt.Errorf("the signature is %q, not %q", given, want)
	}
	return nil
}
