package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func delivery() notice.Delivery {
	return notice.New(time.Unix(1767225600, 0), notice.Notice{
		Key: "INC-000042:1:opened", Event: "opened", At: time.Unix(1767225600, 0).UTC(),
		Incident: incident.Incident{Number: "INC-000042", Customer: "acme", Title: `"><script>`, Revision: 1},
		Lines:    []string{"/var is full"},
	}, "ops")
}

func options(t testing.TB, url string) *Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Options{URL: url, SecretFile: file, AllowPrivate: true}
}

func open(t testing.TB, o *Options) *channel {
	t.Helper()
	made, err := o.New(notice.Env{UserAgent: "wacht-collector/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	return made.(*channel)
}

// verify is what a receiver does: it returns the body when the signature is right and
// not older than five minutes.
func verify(r *http.Request, secret string, now time.Time) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	stamp, mac, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Wacht-Signature"), "t="), ",v1=")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return nil, errors.New("the signature has no time, or one long gone")
	}
	got, err := hex.DecodeString(mac)
	if err != nil {
		return nil, err
	}
	want := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(want, "%s.%s", stamp, body)
	if !hmac.Equal(got, want.Sum(nil)) {
		return nil, errors.New("the signature is wrong")
	}
	return body, nil
}

func TestAReceiverCanVerify(t *testing.T) {
	var request *http.Request
	var body []byte
	var verified error
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		request = r
		body, verified = verify(r, testSecret, time.Now())
	}))
	defer server.Close()
	d := delivery()
	if err := open(t, options(t, server.URL)).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if verified != nil {
		t.Fatal(verified)
	}
	var got Body
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.Key != d.Key || got.Channel != "ops" || got.Event != "opened" ||
		got.Incident.Number != "INC-000042" || got.Lines[0] != "/var is full" || !got.At.Equal(d.Notice.At) {
		t.Errorf("body %s", body)
	}
	for header, want := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": d.Key, "User-Agent": "wacht-collector/test",
	} {
		if is := request.Header.Get(header); is != want {
			t.Errorf("%s: %q, want %q", header, is, want)
		}
	}
	if request.Method != http.MethodPost {
		t.Errorf("method %s", request.Method)
	}
}

// A problem comes as one, and leaves the incident out.
func TestProblemIsPosted(t *testing.T) {
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = verify(r, testSecret, time.Now())
	}))
	defer server.Close()
	reached := time.Unix(1768225600, 0).UTC()
	d := notice.New(time.Unix(1767225600, 0), notice.Notice{
		Key: "PRB-000007:1:problem-opened", Event: "problem-opened", At: time.Unix(1767225600, 0).UTC(),
		Problem: &problem.Problem{Number: "PRB-000007", Customer: "acme", Title: "/var will be full", Why: "it falls", ReachedAt: reached, Confidence: 0.97},
		Lines:   []string{"/var will be full"},
	}, "ops")
	if err := open(t, options(t, server.URL)).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var got Body
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if p := got.Problem; p == nil || p.Number != "PRB-000007" || p.Confidence != 0.97 || !p.ReachedAt.Equal(reached) || got.Event != "problem-opened" {
		t.Errorf("body %s", body)
	}
	if bytes.Contains(body, []byte(`"incident"`)) {
		t.Errorf("there is an incident in %s", body)
	}
}

func TestVerifyRefuses(t *testing.T) {
	now := time.Unix(1767225600, 0)
	body := []byte(`{"version":1}`)
	right := Sign([]byte(testSecret), now, body)
	for name, test := range map[string]struct {
		header, body string
		now          time.Time
		ok           bool
	}{
		"right":        {right, string(body), now, true},
		"another body": {right, `{"version":2}`, now, false},
		"an old one":   {right, string(body), now.Add(6 * time.Minute), false},
		"another time": {strings.Replace(right, "t=1767225600", "t=1767225601", 1), string(body), now, false},
		"another key":  {Sign([]byte("another"), now, body), string(body), now, false},
		"none":         {"", string(body), now, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
		r.Header.Set("Wacht-Signature", test.header)
		if _, err := verify(r, testSecret, test.now); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		code      int
		header    string
		permanent bool
		after     time.Duration
	}{
		{code: 301, permanent: true},
		{code: 302, permanent: true},
		{code: 400, permanent: true},
		{code: 401, permanent: true},
		{code: 404, permanent: true},
		{code: 410, permanent: true},
		{code: 408},
		{code: 425},
		{code: 429, header: "120", after: 2 * time.Minute},
		{code: 429, header: "86400", after: time.Hour},
		{code: 429, header: "-5"},
		{code: 500},
		{code: 503, header: "Thu, 01 Jan 2026 00:01:30 GMT", after: 90 * time.Second},
		{code: 503, header: "Thu, 01 Jan 2020 00:00:00 GMT"},
		{code: 503, header: "soon"},
	} {
		var elsewhere atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				elsewhere.Add(1)
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", test.header)
			w.WriteHeader(test.code)
			_, _ = w.Write(bytes.Repeat([]byte("no "), 1000))
		}))
		c := open(t, options(t, server.URL))
		c.now = func() time.Time { return time.Unix(1767225600, 0) }
		err := c.Send(t.Context(), delivery())
		failure, ok := errors.AsType[*notice.SendError](err)
		if !ok || failure.Permanent != test.permanent || failure.After != test.after {
			t.Errorf("%d with Retry-After %q: %+v", test.code, test.header, failure)
		} else if len(failure.Error()) > 1000 || !strings.Contains(failure.Error(), strconv.Itoa(test.code)) {
			t.Errorf("%d: the reason is %q", test.code, failure)
		}
		if elsewhere.Load() > 0 {
			t.Errorf("%d: the redirect was followed", test.code)
		}
		server.Close()
	}
}

// TestNoAnswer takes the request and never answers; the sender tries again.
func TestNoAnswer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer server.Close()
	defer close(release)
	c := open(t, options(t, server.URL+"/secret-path"))
	c.client.Timeout = 50 * time.Millisecond
	err := c.Send(t.Context(), delivery())
	if failure, ok := errors.AsType[*notice.SendError](err); err == nil || (ok && failure.Permanent) {
		t.Errorf("no answer: %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "secret-path") {
		t.Errorf("the error shows the URL: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Send(ctx, delivery()); !errors.Is(err, context.Canceled) {
		t.Errorf("when the collector stops: %v", err)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("thank you"))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := open(t, options(t, server.URL))
	for range 10 {
		if err := c.Send(t.Context(), delivery()); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("10 deliveries over %d connections", n)
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	called := false
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	o := options(t, server.URL)
	o.AllowPrivate = false
	err := open(t, o).Send(t.Context(), delivery())
	failure, ok := errors.AsType[*notice.SendError](err)
	if !ok || !failure.Permanent || !strings.Contains(err.Error(), "allow_private") || called {
		t.Errorf("loopback: %v, called %v", err, called)
	}
}

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450:400e:80c::200e": true, "193.0.6.139": true,
		"127.0.0.1": false, "127.8.8.8": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false,
		"172.16.0.1": false, "172.31.255.255": false, "172.32.0.1": true, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "198.18.0.1": false, "192.0.0.8": false,
		"224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd12::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:db8::1": false, "fec0::1": false, "2001::1": false,
	} {
		if got := public(netip.MustParseAddr(address).Unmap()); got != want {
			t.Errorf("%s: public is %v", address, got)
		}
	}
	if refusePrivate("[fe80::1%eth0]:443") == nil || refusePrivate("nonsense") == nil {
		t.Error("an address with a zone, or none, was taken")
	}
}

func TestOptionsRefuse(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("password"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := options(t, "https://desk.example.net/wacht")
	for want, o := range map[string]Options{
		"url: want":        {URL: "desk.example.net", SecretFile: good.SecretFile},
		"url: http is for": {URL: "http://desk.example.net", SecretFile: good.SecretFile},
		"url: holds":       {URL: "https://me:pw@desk.example.net", SecretFile: good.SecretFile},
		"url: want one":    {URL: "file:///etc/passwd", SecretFile: good.SecretFile},
		"missing; make":    {URL: good.URL},
		"fewer than 16":    {URL: good.URL, SecretFile: short},
		"no such file":     {URL: good.URL, SecretFile: short + "er"},
		"no file with":     {URL: good.URL, SecretFile: filepath.Dir(short)},
	} {
		if errs := o.Validate(); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%+v: %v, want %q", o, errs, want)
		}
		if _, err := o.New(notice.Env{}); err == nil {
			t.Errorf("%+v made a channel", o)
		}
	}
	if errs := good.Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestSecretIsNotShown(t *testing.T) {
	secret := notice.Secret(testSecret)
	encoded, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, options(t, "https://desk.example.net"))
	shown := fmt.Sprintf("%s %v %+v %#v %q %s", secret, secret, c.secret, secret, secret, encoded)
	if strings.Contains(shown, "0123") {
		t.Errorf("the secret shows: %s", shown)
	}
}

func BenchmarkSend(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := open(b, options(b, server.URL))
	for b.Loop() {
		if err := c.Send(b.Context(), delivery()); err != nil {
			b.Fatal(err)
		}
	}
}
