package notify

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
	"github.com/wacht-io/wacht/collector/internal/notify/smtp"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
	"github.com/wacht-io/wacht/collector/internal/store/storetest"
)

// postfix is a real one, on a port of its own and with everything it keeps in dir. It
// wants STARTTLS under an authority of its own and a password, has mailboxes desk and
// ann at example.net, and asks greylist before it takes a mail.
type postfix struct {
	t        *testing.T
	dir      string
	port     int
	greylist *greylist
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file_prefixes = DIR
maillog_file = DIR/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.net
mydestination =
virtual_mailbox_domains = example.net
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ desk@example.net=desk/ ann@example.net=ann/ }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = DIR/server.pem
smtpd_tls_key_file = DIR/server.key
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
cyrus_sasl_config_path = DIR/sasl
smtpd_sasl_local_domain = example.net
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = reject_unlisted_recipient, check_policy_service inet:127.0.0.1:POLICY, permit_sasl_authenticated, reject
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// newPostfix prepares one without starting it.
func newPostfix(t *testing.T) *postfix {
	t.Helper()
	for _, program := range []string{"postfix", "saslpasswd2"} {
		if _, err := exec.LookPath(program); err != nil || os.Geteuid() != 0 {
			t.Skipf("no %s, or not root (Debian: apt-get install postfix sasl2-bin libsasl2-modules)", program)
		}
	}
	// Others than root work in it, and the paths of its sockets must stay short.
	dir, err := os.MkdirTemp("/var/tmp", "wacht-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &postfix{t: t, dir: dir, port: freePort(t), greylist: newGreylist(t)}
	p.mustDo("chmod", "755", dir)
	for _, name := range []string{"queue", "data", "mail", "sasl"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.mustDo("chown", "postfix", filepath.Join(dir, "data"))
	p.mustDo("chown", "65534:65534", filepath.Join(dir, "mail"))
	values := strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(p.port), "POLICY", strconv.Itoa(p.greylist.port))
	p.write("main.cf", values.Replace(postfixMain))
	p.write("master.cf", values.Replace(postfixMaster))
	p.write("sasl/smtpd.conf", values.Replace("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: DIR/sasl/db\nmech_list: PLAIN\n"))
	p.write("password", "pass word\n")
	add := exec.CommandContext(t.Context(), "saslpasswd2", "-p", "-c", "-f", filepath.Join(dir, "sasl", "db"), "-u", "example.net", "wacht")
	add.Stdin = strings.NewReader("pass word")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v: %s", err, out)
	}
	p.mustDo("chown", "postfix", filepath.Join(dir, "sasl", "db"))
	p.certificates()
	return p
}

// start runs it until the test ends.
func (p *postfix) start() {
	p.t.Helper()
	cmd := exec.Command("postfix", "-c", p.dir, "start-fg") // ended by postfix stop
	cmd.Stdout, cmd.Stderr = p.t.Output(), p.t.Output()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if out, err := exec.Command("postfix", "-c", p.dir, "stop").CombinedOutput(); err != nil {
			p.t.Errorf("stopping postfix: %v: %s", err, out)
		}
		_ = cmd.Wait()
		if p.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
			p.t.Logf("postfix says:\n%s", log)
		}
	})
}

func (p *postfix) mustDo(program string, args ...string) {
	p.t.Helper()
	if out, err := exec.CommandContext(p.t.Context(), program, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v: %s", program, err, out)
	}
}

func (p *postfix) write(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// certificates makes an authority, ca.pem, and the server's certificate under it.
func (p *postfix) certificates() {
	p.t.Helper()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey := p.key()
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serverKey := p.key()
	for _, made := range []struct {
		name string
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
	}{{"ca.pem", root, rootKey}, {"server.pem", server, serverKey}} {
		der, err := x509.CreateCertificate(rand.Reader, made.cert, root, &made.key.PublicKey, rootKey)
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(made.name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func (p *postfix) key() *ecdsa.PrivateKey {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// channel is one that mails to somebody through this server.
func (p *postfix) channel(to ...string) notice.Channel {
	p.t.Helper()
	o := smtp.Options{
		Host: "localhost", Port: p.port, CAFile: filepath.Join(p.dir, "ca.pem"), Username: "wacht@example.net",
		PasswordFile: filepath.Join(p.dir, "password"), From: "Wácht <wacht@example.net>", To: to,
	}
	if errs := o.Validate(); len(errs) > 0 {
		p.t.Fatal(errs)
	}
	c, err := o.New(notice.Env{Logger: slog.New(slog.NewTextHandler(p.t.Output(), nil))})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// inbox waits until so many mails lie in a mailbox.
func (p *postfix) inbox(name string, n int) []*mail.Message {
	p.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-ticker.C {
		files, err := filepath.Glob(filepath.Join(p.dir, "mail", name, "new", "*"))
		if err != nil {
			p.t.Fatal(err)
		}
		if len(files) < n && time.Now().Before(deadline) {
			continue
		}
		var out []*mail.Message
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				p.t.Fatal(err)
			}
			m, err := mail.ReadMessage(bytes.NewReader(content))
			if err != nil {
				p.t.Fatalf("%s: %v", content, err)
			}
			if head, _, _ := bytes.Cut(content, []byte("\n\n")); bytes.ContainsFunc(head, func(r rune) bool { return r > unicode.MaxASCII }) {
				p.t.Errorf("headers are not encoded:\n%s", head)
			}
			out = append(out, m)
		}
		if len(out) != n {
			p.t.Fatalf("%d mails for %s, want %d", len(out), name, n)
		}
		return out
	}
}

// greylist refuses each recipient's first mail for a while, by Postfix's protocol for
// policies (https://www.postfix.org/SMTPD_POLICY_README.html).
type greylist struct {
	port int

	mu   sync.Mutex
	seen map[string]int // attempts by recipient
}

func newGreylist(t *testing.T) *greylist {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greylist{port: listener.Addr().(*net.TCPAddr).Port, seen: map[string]int{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { g.answer(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return g
}

// answer reads requests, each lines that end with an empty one.
func (g *greylist) answer(conn net.Conn) {
	defer conn.Close()
	recipient := ""
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "recipient="); ok {
			recipient = value
		}
		if lines.Text() == "" {
			fmt.Fprintf(conn, "action=%s\n\n", g.judge(recipient))
		}
	}
}

func (g *greylist) judge(recipient string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen[recipient]++; g.seen[recipient] == 1 {
		return "defer 4.2.0 Greylisted, come back later"
	}
	return "dunno"
}

func (g *greylist) attempts(recipient string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[recipient]
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// plain is the plain text of a mail.
func plain(t *testing.T, m *mail.Message) string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("the mail is %s, %v", kind, err)
	}
	part, err := multipart.NewReader(m.Body, params["boundary"]).NextPart() // undoes quoted-printable
	if err != nil {
		t.Fatal(err)
	}
	if kind := part.Header.Get("Content-Type"); kind != "text/plain; charset=UTF-8" {
		t.Errorf("its first part is %s", kind)
	}
	text, err := io.ReadAll(part)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// TestMailThroughPostfix: a mail is tried again while Postfix is down and while it
// greylists, and arrives as it was meant; sent twice, it is the same mail; and one that
// Postfix refuses is a dead letter, of which the fallback is told.
func TestMailThroughPostfix(t *testing.T) {
	p := newPostfix(t)
	d := &desk{
		t: t, store: &storetest.Faulty{Store: memstore.New()},
		channels: map[string]notice.Channel{
			"mail": p.channel("Desk <desk@example.net>"), "gone": p.channel("nobody@example.net"), "fallback": p.channel("ann@example.net"),
		},
		config: Config{
			{Common: Common{Name: "mail", Customers: []string{"acme"}}},
			{Common: Common{Name: "gone", Customers: []string{"bolt"}, Fallback: "fallback"}},
			{Common: Common{Name: "fallback", Customers: []string{"nobody"}}},
		},
	}
	d.start()
	n := told("INC-000042", 1, "opened")
	n.Incident.Title = "Bestandssysteem /één is vol 🔥"
	n.Lines = []string{"P2 INC-000042 opened: /één is vol", "1 GiB of 100 GiB free"}
	sent := d.tell(n)[0] // and nobody listens yet
	p.start()

	m := p.inbox("desk", 1)[0]
	if got := p.greylist.attempts("desk@example.net"); got < 2 {
		t.Errorf("greylisting saw %d attempts", got)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "[P2] INC-000042 Bestandssysteem /één is vol 🔥" {
		t.Errorf("subject %q (%q), %v", subject, m.Header.Get("Subject"), err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Name != "Wácht" || from[0].Address != "wacht@example.net" {
		t.Errorf("from %v, %v", from, err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Name != "Desk" || to[0].Address != "desk@example.net" {
		t.Errorf("to %v, %v", to, err)
	}
	if date, err := m.Header.Date(); err != nil || !date.Equal(sent.CreatedAt.Truncate(time.Second)) {
		t.Errorf("date %v, %v; want %v", date, err, sent.CreatedAt)
	}
	id := m.Header.Get("Message-Id")
	if !strings.HasPrefix(id, "<wacht.incident.") || !strings.HasSuffix(id, "@example.net>") || len(m.Header["Message-Id"]) != 1 {
		t.Errorf("message ids %q", m.Header["Message-Id"])
	}
	if got := m.Header.Get("X-Wacht-Idempotency-Key"); got != sent.Key {
		t.Errorf("key %q, want %q", got, sent.Key)
	}
	// RFC 3848: S for STARTTLS, A for AUTH. UTF8SMTPSA would not get past every server.
	if got := m.Header.Get("Received"); !strings.Contains(got, "with ESMTPSA") {
		t.Errorf("it was received %q", got)
	}
	if text := plain(t, m); !strings.HasPrefix(text, "P2 INC-000042 opened: /één is vol\n\n1 GiB of 100 GiB free\n") {
		t.Errorf("the text is %q", text)
	}

	// The collector died before it recorded that the mail was sent.
	d.stop()
	w, err := sent.Write()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.Store.Commit(t.Context(), nil, []store.Write{w}); err != nil {
		t.Fatal(err)
	}
	d.start()
	defer func() { d.stop() }()
	for _, m := range p.inbox("desk", 2) {
		if m.Header.Get("Message-Id") != id || m.Header.Get("X-Wacht-Idempotency-Key") != sent.Key {
			t.Errorf("sent again, it is %v", m.Header)
		}
	}

	n = told("INC-000043", 1, "opened")
	n.Incident.Customer = "bolt"
	d.tell(n)
	m = p.inbox("ann", 1)[0]
	if m.Header.Get("X-Wacht-Event") != notice.Undelivered {
		t.Errorf("the fallback gets %v", m.Header)
	}
	if text := plain(t, m); !strings.Contains(text, "Channel gone could not tell that INC-000043: opened\n") || !strings.Contains(text, "550") {
		t.Errorf("the fallback is told %q", text)
	}
	dead := d.rows(&notice.DeadLetters)
	if len(dead) != 1 || dead[0].Channel != "gone" || !strings.Contains(dead[0].LastError, "User unknown in virtual mailbox table") {
		t.Errorf("dead letters %+v", dead)
	}
}
