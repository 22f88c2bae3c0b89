package smtp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	server "github.com/emersion/go-smtp"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// mailServer is a mail server that keeps what it gets and fails as it is told.
type mailServer struct {
	mu    sync.Mutex
	mails [][]byte
	login string
	// rcpt and data are the answers to the commands, nil for success; only, when set,
	// is whose mailbox rcpt is about.
	rcpt, data error
	only       string
	// took, when set, is told of a mail before the answer, which then waits for hang.
	took, hang chan struct{}
}

type session struct{ s *mailServer }

func (s *mailServer) NewSession(*server.Conn) (server.Session, error) { return session{s}, nil }

func (x session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (x session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		if x.s.login = username + ":" + password; x.s.login != "wacht:pass word" {
			return server.ErrAuthFailed
		}
		return nil
	}), nil
}

func (x session) Mail(string, *server.MailOptions) error { return nil }

func (x session) Rcpt(to string, _ *server.RcptOptions) error {
	if x.s.only != "" && x.s.only != to {
		return nil
	}
	return x.s.rcpt
}

func (x session) Reset()        {}
func (x session) Logout() error { return nil }

func (x session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	x.s.mails = append(x.s.mails, content)
	x.s.mu.Unlock()
	if x.s.took != nil {
		x.s.took <- struct{}{}
		<-x.s.hang
	}
	return x.s.data
}

// start runs the server and returns options that reach it.
func (s *mailServer) start(t *testing.T, encryption string) *Options {
	t.Helper()
	config, caFile := certificate(t)
	srv := server.NewServer(s)
	srv.Domain = "localhost"
	srv.AllowInsecureAuth = false
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	switch encryption {
	case StartTLS, "":
		srv.TLSConfig = config
	case Implicit:
		listener = tls.NewListener(listener, config)
	}
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close() })
	o := &Options{
		Host: "localhost", TLS: encryption, CAFile: caFile, From: "Wacht <wacht@example.net>",
		To: []string{"desk@example.net", "Ann <ann@example.net>"},
	}
	o.Port, _ = strconv.Atoi(port)
	return o
}

// certificate makes a certificate for localhost that signs itself.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

func withLogin(t *testing.T, o *Options, password string) *Options {
	t.Helper()
	o.Username, o.PasswordFile = "wacht", filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(o.PasswordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func delivery(event string) notice.Delivery {
	return notice.New(time.Unix(1767225600, 0), notice.Notice{
		Key: "INC-000042:1:" + event, Event: event, At: time.Unix(1767225600, 0),
		Incident: incident.Incident{
			Number: "INC-000042", Customer: "acme", Priority: "P2", HostName: "srv1", Check: "disk", Item: "/var",
			Title:    "Filesystem /var is full <b>é</b>\r\nBcc: evil@example.org",
			OpenedAt: time.Unix(1767225600, 0).UTC(),
		},
		Lines: []string{"P2 INC-000042 " + event, `<script>alert("1")</script>`, "https://wacht.example.net/incidents/INC-000042"},
	}, "mail")
}

func send(t *testing.T, o *Options, d notice.Delivery) error {
	t.Helper()
	if errs := o.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	c, err := o.New(notice.Env{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.Send(t.Context(), d)
}

func (s *mailServer) parsed(t *testing.T) []*mail.Message {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*mail.Message
	for _, content := range s.mails {
		m, err := mail.ReadMessage(strings.NewReader(string(content)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func TestMail(t *testing.T) {
	for _, encryption := range []string{"", StartTLS, Implicit} {
		t.Run("tls "+encryption, func(t *testing.T) {
			var s mailServer
			o := withLogin(t, s.start(t, encryption), "pass word")
			d := delivery("opened")
			if err := send(t, o, d); err != nil {
				t.Fatal(err)
			}
			m := s.parsed(t)[0]
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "[P2] INC-000042 Filesystem /var is full <b>é</b>  Bcc: evil@example.org" {
				t.Errorf("subject %q (%v)", subject, err)
			}
			for header, want := range map[string]string{
				"X-Wacht-Idempotency-Key": d.Key, "X-Wacht-Incident": "INC-000042", "X-Wacht-Event": "opened",
				"X-Wacht-Customer": "acme", "Auto-Submitted": "auto-generated", "Bcc": "",
				"From": `"Wacht" <wacht@example.net>`, "To": `<desk@example.net>, "Ann" <ann@example.net>`,
			} {
				if got := m.Header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			text, html := bodies(t, m)
			for _, want := range []string{"P2 INC-000042 opened\n", `<script>alert("1")</script>`, "srv1", "disk /var", "https://wacht.example.net/incidents/INC-000042"} {
				if !strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), want) {
					t.Errorf("the text has no %q:\n%s", want, text)
				}
			}
			if !strings.Contains(html, `<a href="https://wacht.example.net/incidents/INC-000042">`) {
				t.Errorf("the page has no link:\n%s", html)
			}
			if strings.Contains(html, "<script>") || !strings.Contains(html, "&lt;script&gt;") {
				t.Errorf("the page is not escaped:\n%s", html)
			}
		})
	}
}

// bodies returns the plain and the HTML form of a mail.
func bodies(t *testing.T, m *mail.Message) (text, html string) {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			html = string(content)
		} else {
			text = string(content)
		}
	}
}

func TestAnIncidentIsOneThread(t *testing.T) {
	var s mailServer
	o := s.start(t, "")
	for _, event := range []string{"opened", "resolved", "resolved", "reopened"} {
		if err := send(t, o, delivery(event)); err != nil {
			t.Fatal(err)
		}
	}
	m := s.parsed(t)
	root := m[0].Header.Get("Message-Id")
	for i, later := range m[1:] {
		if later.Header.Get("References") != root || later.Header.Get("In-Reply-To") != root || later.Header.Get("Message-Id") == root {
			t.Errorf("mail %d: %v", i+1, later.Header)
		}
	}
	if m[1].Header.Get("Message-Id") != m[2].Header.Get("Message-Id") || m[2].Header.Get("Message-Id") == m[3].Header.Get("Message-Id") {
		t.Error("a mail that is sent twice has two ids, or another mail the same")
	}
	if m[0].Header.Get("References") != "" || !strings.HasSuffix(root, "@example.net>") {
		t.Errorf("the root: %v", m[0].Header)
	}
}

func TestProblemIsMailed(t *testing.T) {
	var s mailServer
	o := s.start(t, "")
	for _, event := range []string{problem.WasOpened, problem.WasResolved} {
		err := send(t, o, notice.New(time.Unix(1767225600, 0), notice.Notice{
			Event: event, At: time.Unix(1767225600, 0),
			Problem: &problem.Problem{
				Number: "PRB-000007", Customer: "acme", Priority: "P4", HostName: "srv1", Check: "disk", Item: "/var",
				Title: "/var will be full", ReachedAt: time.Unix(1768225600, 0).UTC(),
			},
			Lines: []string{"P4 PRB-000007 " + event, "free_bytes falls by 2 GiB a day (R² 0.97 over 14d)"},
		}, "mail"))
		if err != nil {
			t.Fatal(err)
		}
	}
	m := s.parsed(t)
	for i, want := range []string{"[P4] PRB-000007 /var will be full", "[P4] PRB-000007 /var will be full (problem-resolved)"} {
		if got := m[i].Header.Get("Subject"); got != want {
			t.Errorf("subject %q, want %q", got, want)
		}
		if m[i].Header.Get("X-Wacht-Problem") != "PRB-000007" || m[i].Header.Get("X-Wacht-Incident") != "" {
			t.Errorf("headers %v", m[i].Header)
		}
	}
	if root := m[0].Header.Get("Message-Id"); root == "" || m[1].Header.Get("References") != root || m[0].Header.Get("References") != "" {
		t.Errorf("they are no thread: %v, %v", m[0].Header, m[1].Header)
	}
	text, html := bodies(t, m[0])
	for _, want := range []string{"falls by 2 GiB a day (R² 0.97 over 14d)", "disk /var", "Limit reached", "Mon 12 Jan 2026"} {
		if !strings.Contains(text, want) || !strings.Contains(html, want) {
			t.Errorf("it lacks %q:\n%s\n%s", want, text, html)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		rcpt, data error
		permanent  bool
	}{
		"no such mailbox": {rcpt: &server.SMTPError{Code: 550, Message: "no such user"}, permanent: true},
		"greylisted":      {rcpt: &server.SMTPError{Code: 451, Message: "come back later"}},
		"spam":            {data: &server.SMTPError{Code: 554, Message: "no thanks"}, permanent: true},
		"no room":         {data: &server.SMTPError{Code: 452, Message: "full"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailServer{rcpt: test.rcpt, data: test.data}
			err := send(t, s.start(t, ""), delivery("opened"))
			failure, known := errors.AsType[*notice.SendError](err)
			if err == nil || (known && failure.Permanent) != test.permanent {
				t.Errorf("%v, permanent %v", err, known && failure.Permanent)
			}
		})
	}
}

func TestOneBadRecipientDoesNotStopTheOthers(t *testing.T) {
	s := mailServer{rcpt: &server.SMTPError{Code: 550, Message: "no such user"}, only: "ann@example.net"}
	if err := send(t, s.start(t, ""), delivery("opened")); err != nil {
		t.Fatal(err)
	}
	if m := s.parsed(t); len(m) != 1 || m[0].Header.Get("To") != "<desk@example.net>" {
		t.Errorf("mails: %v", m)
	}
	s = mailServer{rcpt: &server.SMTPError{Code: 451, Message: "later"}, only: "ann@example.net"}
	err := send(t, s.start(t, ""), delivery("opened"))
	if err == nil || permanent(err) {
		t.Errorf("one recipient is greylisted: %v", err)
	}
}

func TestWrongPasswordIsTriedAgain(t *testing.T) {
	var s mailServer
	err := send(t, withLogin(t, s.start(t, ""), "wrong"), delivery("opened"))
	if _, permanent := errors.AsType[*notice.SendError](err); err == nil || permanent || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestServerWithoutTLSIsRefused(t *testing.T) {
	var s mailServer
	o := s.start(t, None)
	o.TLS = StartTLS
	if err := send(t, o, delivery("opened")); err == nil || len(s.parsed(t)) > 0 {
		t.Errorf("mail went out in the clear: %v", err)
	}
	o.TLS = None
	if err := send(t, o, delivery("opened")); err != nil || len(s.parsed(t)) != 1 {
		t.Errorf("with tls: none: %v", err)
	}
}

func TestUnknownCertificateIsRefused(t *testing.T) {
	var s mailServer
	o := s.start(t, "")
	o.CAFile = ""
	if err := send(t, o, delivery("opened")); err == nil || len(s.parsed(t)) > 0 {
		t.Errorf("a certificate that nobody knows was taken: %v", err)
	}
}

// TestNoAnswerAfterTheMail takes a mail and never says so: the mail is sent again,
// with the same id.
func TestNoAnswerAfterTheMail(t *testing.T) {
	s := mailServer{took: make(chan struct{}, 2), hang: make(chan struct{})}
	c, err := s.start(t, "").New(notice.Env{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- c.Send(ctx, delivery("resolved")) }()
	<-s.took
	cancel()
	if err := <-sent; !errors.Is(err, context.Canceled) {
		t.Errorf("no answer: %v", err)
	}
	close(s.hang)
	if err := c.Send(t.Context(), delivery("resolved")); err != nil {
		t.Fatal(err)
	}
	m := s.parsed(t)
	if len(m) != 2 || m[0].Header.Get("Message-Id") != m[1].Header.Get("Message-Id") {
		t.Errorf("%d mails", len(m))
	}
}
