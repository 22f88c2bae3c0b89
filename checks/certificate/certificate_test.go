package certificate

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
)

const day = 24 * time.Hour

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate; with a nil issuer it signs itself.
func issue(t testing.TB, name string, by *authority, key crypto.Signer, from, to time.Time, ca bool) *authority {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if !ca {
		template.DNSNames, template.IPAddresses = []string{name}, []net.IP{net.IPv4(127, 0, 0, 1)}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	parent := &authority{template, key}
	if by != nil {
		parent = by
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// estate is an authority with one below it.
type estate struct {
	root, middle *authority
	now          time.Time
	caFile       string
}

func newEstate(t testing.TB) *estate {
	t.Helper()
	e := &estate{now: time.Now()}
	e.root = issue(t, "Example Root", nil, newKey(t), e.now.Add(-100*day), e.now.Add(3000*day), true)
	e.middle = issue(t, "Example Middle", e.root, newKey(t), e.now.Add(-50*day), e.now.Add(1000*day), true)
	e.caFile = writePEM(t, e.root)
	return e
}

func (e *estate) server(t testing.TB, from, to time.Duration) *authority {
	t.Helper()
	return issue(t, "shop.example.com", e.middle, newKey(t), e.now.Add(from), e.now.Add(to), false)
}

func writePEM(t testing.TB, list ...*authority) string {
	t.Helper()
	var data []byte
	for _, a := range list {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	file := filepath.Join(t.TempDir(), "certificates.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func tlsConfig(list ...*authority) *tls.Config {
	cert := tls.Certificate{PrivateKey: list[0].key}
	for _, a := range list {
		cert.Certificate = append(cert.Certificate, a.cert.Raw)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// serve takes connections on a port of its own, has talk speak first, and then
// shows the certificates.
func serve(t testing.TB, config *tls.Config, talk func(net.Conn) bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if talk == nil || talk(conn) {
					io.Copy(io.Discard, tls.Server(conn, config))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func run(t *testing.T, given checks.Params) []checks.Result {
	t.Helper()
	c := New()
	params, err := c.Spec().Params(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(t.Context(), &checks.Env{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	return got.Results
}

func values(r checks.Result) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range r.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

func TestEndpoint(t *testing.T) {
	e := newEstate(t)
	good := e.server(t, -30*day, 60*day)
	expired := e.server(t, -90*day, -day)
	early := e.server(t, day, 90*day)
	short := issue(t, "Short Middle", e.root, newKey(t), e.now.Add(-day), e.now.Add(5*day), true)
	under := issue(t, "shop.example.com", short, newKey(t), e.now.Add(-day), e.now.Add(80*day), false)
	self := issue(t, "shop.example.com", nil, newKey(t), e.now.Add(-day), e.now.Add(day), false)
	wantsOurs := tlsConfig(good, e.middle)
	wantsOurs.ClientAuth, wantsOurs.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	for name, tt := range map[string]struct {
		config    *tls.Config
		name      string
		status    checks.Status
		summary   string
		remaining time.Duration
		lifetime  time.Duration
	}{
		"good":                      {tlsConfig(good, e.middle), "", checks.OK, "shop.example.com, valid for 59 d", 60 * day, 90 * day},
		"by another name":           {tlsConfig(good, e.middle), "shop.example.com", checks.OK, "ECDSA 256, issued by Example Middle", 60 * day, 90 * day},
		"wrong name":                {tlsConfig(good, e.middle), "mail.example.com", checks.Critical, "verify failed: x509: certificate is valid for shop.example.com", 60 * day, 90 * day},
		"expired":                   {tlsConfig(expired, e.middle), "", checks.Critical, "verify failed: x509: certificate has expired", -day, 89 * day},
		"not yet":                   {tlsConfig(early, e.middle), "", checks.Critical, "is not yet valid", 90 * day, 89 * day},
		"chain is incomplete":       {tlsConfig(good), "", checks.Critical, "unknown authority", 60 * day, 90 * day},
		"signed by itself":          {tlsConfig(self), "", checks.Critical, "verify failed", day, 2 * day},
		"authority expires earlier": {tlsConfig(under, short), "", checks.OK, "valid for 4 d 23 h (by Short Middle)", 5 * day, 6 * day},
		"wants ours too":            {wantsOurs, "", checks.OK, "valid for", 60 * day, 90 * day},
	} {
		t.Run(name, func(t *testing.T) {
			params := checks.Params{"endpoints": {serve(t, tt.config, nil)}, "ca_file": {e.caFile}}
			if tt.name != "" {
				params["server_name"] = []string{tt.name}
			}
			r := run(t, params)[0]
			if r.Status != tt.status || !strings.Contains(r.Summary, tt.summary) {
				t.Errorf("got %v %q, want %v with %q", r.Status, r.Summary, tt.status, tt.summary)
			}
			got := values(r)
			if off := got["remaining_seconds"] - tt.remaining.Seconds(); off > 1 || off < -600 {
				t.Errorf("remaining_seconds is %v, want about %v", got["remaining_seconds"], tt.remaining.Seconds())
			}
			if got["lifetime_seconds"] != tt.lifetime.Seconds() {
				t.Errorf("lifetime_seconds is %v, want %v", got["lifetime_seconds"], tt.lifetime.Seconds())
			}
			if got["key_size"] != 256 || got["key_strength"] != 128 || r.Item != "" {
				t.Errorf("got %v for item %q", got, r.Item)
			}
		})
	}
}

func TestStepsThatFail(t *testing.T) {
	e := newEstate(t)
	closed := serve(t, nil, func(net.Conn) bool { return false })
	for name, tt := range map[string]struct {
		params  checks.Params
		summary string
	}{
		"dns":      {checks.Params{"endpoints": {"nowhere.invalid:443"}}, "dns failed: "},
		"connect":  {checks.Params{"endpoints": {"127.0.0.1:1"}}, "connect failed: "},
		"tls":      {checks.Params{"endpoints": {closed}}, "tls failed: with 127.0.0.1: "},
		"starttls": {checks.Params{"endpoints": {closed}, "starttls": {"smtp"}}, "starttls failed: reading the greeting"},
		"file":     {checks.Params{"files": {filepath.Join(t.TempDir(), "none.pem")}}, "verify failed: opening certificates"},
	} {
		tt.params["ca_file"] = []string{e.caFile}
		r := run(t, tt.params)[0]
		if r.Status != checks.Critical || !strings.HasPrefix(r.Summary, tt.summary) {
			t.Errorf("%s: got %v %q", name, r.Status, r.Summary)
		}
	}
}

func script(lines ...string) func(net.Conn) bool {
	return func(conn net.Conn) bool {
		r := bufio.NewReader(conn)
		for i, line := range lines {
			if i > 0 {
				if _, err := r.ReadString('\n'); err != nil {
					return false
				}
			}
			fmt.Fprint(conn, line)
		}
		return true
	}
}

func TestStartTLS(t *testing.T) {
	e := newEstate(t)
	config := tlsConfig(e.server(t, -day, day), e.middle)
	for name, tt := range map[string]struct {
		protocol string
		talk     func(net.Conn) bool
		status   checks.Status
		summary  string
	}{
		"smtp":          {"smtp", script("220-hello\r\n220 there\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"), checks.OK, "valid for"},
		"smtp refuses":  {"smtp", script("220 hello\r\n", "250 mx\r\n", "454 not now\r\n"), checks.Critical, "the answer to STARTTLS: 454"},
		"smtp busy":     {"smtp", script("421 busy\r\n"), checks.Critical, "reading the greeting: 421"},
		"imap":          {"imap", script("* OK ready\r\n", "* CAPABILITY IMAP4rev2\r\nw1 OK go\r\n"), checks.OK, "valid for"},
		"imap refuses":  {"imap", script("* OK ready\r\n", "w1 BAD what\r\n"), checks.Critical, "the answer to STARTTLS"},
		"imap says bye": {"imap", script("* BYE\r\n"), checks.Critical, "the greeting is"},
		"injected text": {"imap", script("* OK ready\r\n", "w1 OK go\r\n* more\r\n"), checks.Critical, "before the handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, checks.Params{"endpoints": {serve(t, config, tt.talk)}, "starttls": {tt.protocol}, "ca_file": {e.caFile}})[0]
			if r.Status != tt.status || !strings.Contains(r.Summary, tt.summary) {
				t.Errorf("got %v %q, want %v with %q", r.Status, r.Summary, tt.status, tt.summary)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	e := newEstate(t)
	good, expired := e.server(t, -30*day, 60*day), e.server(t, -60*day, -day)
	notPEM := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(notPEM, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []string{writePEM(t, good, e.middle), writePEM(t, expired, e.middle), notPEM, t.TempDir()}
	got := run(t, checks.Params{"files": append(files, files[0])})
	wanted := []struct {
		status  checks.Status
		summary string
	}{
		{checks.OK, "shop.example.com, valid for 59 d"},
		{checks.Critical, "verify failed: the certificate of shop.example.com is valid from"},
		{checks.Critical, "there is no certificate"},
		{checks.Critical, "is not a file"},
	}
	if len(got) != len(wanted) {
		t.Fatalf("got %d results, want %d", len(got), len(wanted))
	}
	for i, want := range wanted {
		if got[i].Status != want.status || !strings.Contains(got[i].Summary, want.summary) || got[i].Item != files[i] {
			t.Errorf("%s: got %v %q for %q", files[i], got[i].Status, got[i].Summary, got[i].Item)
		}
	}
	other := newEstate(t)
	for name, tt := range map[string]struct {
		params checks.Params
		status checks.Status
	}{
		"our authority":     {checks.Params{"ca_file": {e.caFile}}, checks.OK},
		"another authority": {checks.Params{"ca_file": {other.caFile}}, checks.Critical},
		"right name":        {checks.Params{"server_name": {"shop.example.com"}}, checks.OK},
		"wrong name":        {checks.Params{"server_name": {"mail.example.com"}}, checks.Critical},
	} {
		tt.params["files"] = files[:1]
		if r := run(t, tt.params)[0]; r.Status != tt.status {
			t.Errorf("%s: got %v %q", name, r.Status, r.Summary)
		}
	}
}

func TestKeyOf(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		public any
		want   key
	}{
		{weak.Public(), key{"RSA", 2048, 112}},
		{&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023)}, key{"RSA", 1024, 80}},
		{newKey(t).Public(), key{"ECDSA", 256, 128}},
		{edwards, key{"Ed25519", 256, 128}},
		{nil, key{kind: "key of an unknown kind"}},
	} {
		if got := keyOf(&x509.Certificate{PublicKey: tt.public}); got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}

func TestConformance(t *testing.T) {
	e := newEstate(t)
	config := tlsConfig(e.server(t, -day, day), e.middle)
	first, second := serve(t, config, nil), serve(t, config, nil)
	checktest.Run(t, New(), checktest.Options{
		Params: checks.Params{"endpoints": {first, second, first}, "ca_file": {e.caFile}},
		Refused: []checktest.Refusal{
			{Params: nil, Name: "endpoints"},
			{Params: checks.Params{"endpoints": {"example.com:0"}}, Name: "endpoints"},
			{Params: checks.Params{"endpoints": {first}, "ca_file": {"/nonexistent/ca.pem"}}, Name: "ca_file"},
		},
		Hanging: func(t *testing.T) (checks.Params, <-chan struct{}) {
			taken := make(chan struct{}, 1)
			silent := serve(t, nil, func(c net.Conn) bool { taken <- struct{}{}; io.Copy(io.Discard, c); return false })
			return checks.Params{"endpoints": {silent}}, taken
		},
	})
}

func FuzzParse(f *testing.F) {
	e := newEstate(f)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.root.cert.Raw}))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if certs, err := parse(data); err == nil && len(certs) == 0 {
			t.Error("neither a certificate nor an error")
		}
	})
}

func FuzzStartTLS(f *testing.F) {
	f.Add([]byte("220 hello\r\n250 mx\r\n220 go\r\n"), "smtp")
	f.Add([]byte("* OK ready\r\nw1 OK go\r\n"), "imap")
	f.Fuzz(func(t *testing.T, data []byte, protocol string) {
		ours, theirs := net.Pipe()
		go func() { io.Copy(io.Discard, theirs) }()
		go func() { theirs.Write(data); theirs.Close() }()
		_ = startTLS(protocol, ours)
		ours.Close()
	})
}
