package ingest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/ingest"
	"github.com/wacht-io/wacht/collector/internal/joining"
	"github.com/wacht-io/wacht/collector/internal/notify"
	"github.com/wacht-io/wacht/collector/internal/pki"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// side is a collector's agents' port, in memory.
type side struct {
	t         testing.TB
	dir       string
	store     store.Store
	history   *history.Store
	engine    *engine.Engine
	policy    engine.Policy
	authority *pki.Authority
	server    *grpc.Server
	listener  *bufconn.Listener
}

func newSide(t testing.TB) *side {
	t.Helper()
	s := &side{t: t, dir: t.TempDir(), store: memstore.New()}
	s.start()
	t.Cleanup(func() { s.close() })
	return s
}

func (s *side) start() {
	t := s.t
	t.Helper()
	s.listener = bufconn.Listen(1 << 20)
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	if s.policy, err = policy.Load(nil, specs, time.Now()); err != nil {
		t.Fatal(err)
	}
	if s.history, err = history.Open(s.dir, history.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.authority, err = pki.Load(t.Context(), s.store, time.Now()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s.engine, err = engine.New(t.Context(), engine.Options{
		Store: s.store, History: s.history, Policy: s.policy, Declarations: specs,
		Router: notify.NewRouter(nil), Wake: func([]notify.Delivery) {}, Logger: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Start()
	s.server = ingest.New(s.engine, s.authority, s.store, log)
	go func() { _ = s.server.Serve(s.listener) }()
}

func (s *side) close() {
	s.server.Stop()
	s.engine.Stop()
	if err := s.history.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *side) token(ttl time.Duration, uses int) string {
	return s.tokenOf(joining.Order{TTL: ttl, Uses: uses, NoApproval: true})
}

func (s *side) tokenOf(o joining.Order) string {
	s.t.Helper()
	o.Customer, o.Site = "acme", "utrecht"
	text, w, err := joining.New(o, s.authority.Pin(), time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Commit(s.t.Context(), nil, []store.Write{w}); err != nil {
		s.t.Fatal(err)
	}
	return text
}

// later lets time pass without the collector: its timers would tick through months.
func (s *side) later(d time.Duration) {
	s.close()
	time.Sleep(d)
	s.start()
}

// machine is an agent's identity.
type machine struct {
	key   *ecdsa.PrivateKey
	chain [][]byte
	id    string
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// dial connects as a machine, or as nobody when m has no certificate.
func (s *side) dial(m *machine) agentpb.CollectorClient {
	s.t.Helper()
	return agentpb.NewCollectorClient(s.connect(m))
}

func (s *side) connect(m *machine, opts ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	roots := x509.NewCertPool()
	authority, err := x509.ParseCertificate(s.authority.Certificate())
	if err != nil {
		s.t.Fatal(err)
	}
	roots.AddCert(authority)
	cfg := &tls.Config{RootCAs: roots, ServerName: agentpb.ServerName, MinVersion: tls.VersionTLS13}
	if m != nil && m.chain != nil {
		cfg.Certificates = []tls.Certificate{{Certificate: m.chain[:1], PrivateKey: m.key}}
	}
	conn, err := grpc.NewClient("passthrough:///collector", append(opts,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) }))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *side) join(token string) (*machine, error) {
	m := &machine{key: newKey(s.t)}
	answer, err := s.dial(nil).Join(s.t.Context(), &agentpb.JoinRequest{
		Token: token, Csr: request(s.t, m.key), Machine: &agentpb.Machine{Hostname: "web1", Fingerprint: [][]byte{{1}}},
	})
	if err != nil {
		return nil, err
	}
	m.id, m.chain = answer.HostId, answer.Chain
	return m, nil
}

func (s *side) mustJoin() *machine {
	s.t.Helper()
	m, err := s.join(s.token(time.Minute, 1))
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// open starts a stream and returns the collector's first message.
func (s *side) open(m *machine) (grpc.BidiStreamingClient[agentpb.AgentMessage, agentpb.CollectorMessage], *agentpb.CollectorMessage, error) {
	s.t.Helper()
	return s.openAt(s.dial(m), 1)
}

func (s *side) openAt(c agentpb.CollectorClient, machine byte) (grpc.BidiStreamingClient[agentpb.AgentMessage, agentpb.CollectorMessage], *agentpb.CollectorMessage, error) {
	s.t.Helper()
	stream, err := c.Stream(s.t.Context())
	if err != nil {
		return nil, nil, err
	}
	_ = stream.Send(&agentpb.AgentMessage{Message: &agentpb.AgentMessage_Hello{Hello: &agentpb.Hello{
		Protocol: engine.Protocol, NowMs: time.Now().UnixMilli(), Machine: &agentpb.Machine{Hostname: "web1", Fingerprint: [][]byte{{machine}}},
		Epochs: []*agentpb.EpochRange{{Epoch: 7, First: 1}},
	}}})
	first, err := stream.Recv()
	return stream, first, err
}

func TestTokens(t *testing.T) {
	refused := func(t *testing.T, s *side, token, says string) {
		t.Helper()
		_, err := s.join(token)
		if err == nil || !strings.Contains(status.Convert(err).Message(), says) {
			t.Fatalf("got %v, and not %q", err, says)
		}
	}
	t.Run("used twice", func(t *testing.T) {
		s := newSide(t)
		token := s.token(time.Minute, 1)
		if _, err := s.join(token); err != nil {
			t.Fatal(err)
		}
		refused(t, s, token, "used already")
	})
	t.Run("of two uses, by many at once", func(t *testing.T) {
		s := newSide(t)
		token := s.token(time.Minute, 2)
		done := make(chan error, 8)
		for range cap(done) {
			go func() {
				_, err := s.join(token)
				done <- err
			}()
		}
		joined := 0
		for range cap(done) {
			if err := <-done; err == nil {
				joined++
			} else if !strings.Contains(err.Error(), "used already") {
				t.Error(err)
			}
		}
		if joined != 2 {
			t.Fatalf("%d hosts joined with a token of two uses", joined)
		}
	})
	t.Run("expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSide(t)
			token := s.token(time.Minute, 1)
			time.Sleep(2 * time.Minute)
			refused(t, s, token, "expired")
		})
	})
	t.Run("for another collector", func(t *testing.T) {
		refused(t, newSide(t), newSide(t).token(time.Minute, 1), "another collector")
	})
	t.Run("mistyped", func(t *testing.T) {
		s := newSide(t)
		token := []byte(s.token(time.Minute, 1))
		token[20] ^= 1
		refused(t, s, string(token), "mistyped")
	})
	t.Run("with another secret", func(t *testing.T) {
		s := newSide(t)
		token, err := agentpb.ParseToken(s.token(time.Minute, 1))
		if err != nil {
			t.Fatal(err)
		}
		token.Secret[0] ^= 1
		refused(t, s, token.String(), "not known here")
	})
}

func TestOnlyTheHostItselfGetsIn(t *testing.T) {
	s := newSide(t)
	a, b := s.mustJoin(), s.mustJoin()
	if _, first, err := s.open(a); err != nil || first.GetWelcome().GetHostId() != a.id {
		t.Fatalf("a host gets %v, %v", first, err)
	}
	if _, _, err := s.open(nil); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("nobody gets %v", err)
	}
	other := newSide(t)
	if _, _, err := s.open(other.mustJoin()); err == nil {
		t.Fatal("a host of another collector got in")
	}
	_, err := s.dial(a).Renew(t.Context(), &agentpb.RenewRequest{HostId: b.id, Csr: request(t, a.key)})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("a host renewed another's certificate: %v", err)
	}
	if err := s.engine.Revoke(t.Context(), "acme", a.id, "alice"); err != nil {
		t.Fatal(err)
	}
	if _, first, err := s.open(a); err != nil || first.GetRefused().GetCode() != agentpb.Refused_REVOKED {
		t.Fatalf("a revoked host gets %v, %v", first, err)
	}
	_, err = s.dial(nil).Renew(t.Context(), &agentpb.RenewRequest{HostId: a.id, Csr: request(t, a.key)})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("a revoked host renewed its certificate: %v", err)
	}
}

func TestHostOfARollOutWaits(t *testing.T) {
	s := newSide(t)
	token := s.tokenOf(joining.Order{Uses: 2})
	m, err := s.join(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, first, err := s.open(m); err != nil || first.GetRefused().GetCode() != agentpb.Refused_PENDING {
		t.Fatalf("a host that waits gets %v, %v", first, err)
	}
	// Its certificate may run out meanwhile.
	if _, err := s.dial(nil).Renew(t.Context(), &agentpb.RenewRequest{HostId: m.id, Csr: request(t, m.key)}); err != nil {
		t.Fatalf("a host that waits renews its certificate: %v", err)
	}
	// It brings no other host in.
	if _, err := s.dial(m).Join(t.Context(), &agentpb.JoinRequest{Csr: request(t, newKey(t)), Machine: &agentpb.Machine{Hostname: "web2"}}); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("a copy of a host that waits joins: %v", err)
	}
	if err := s.engine.Approve(t.Context(), "acme", m.id, "alice"); err != nil {
		t.Fatal(err)
	}
	if _, first, err := s.open(m); err != nil || first.GetWelcome() == nil {
		t.Fatalf("an approved host gets %v, %v", first, err)
	}
}

func TestHostThatWasAwayComesBackWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		m := s.mustJoin()
		s.later(pki.HostLife + 12*24*time.Hour)
		if _, _, err := s.open(m); err == nil {
			t.Fatal("an expired certificate was accepted")
		}
		answer, err := s.dial(nil).Renew(t.Context(), &agentpb.RenewRequest{HostId: m.id, Csr: request(t, m.key)})
		if err != nil {
			t.Fatal(err)
		}
		m.chain = answer.Chain
		if _, first, err := s.open(m); err != nil || first.GetWelcome() == nil {
			t.Fatalf("with its new certificate it gets %v, %v", first, err)
		}
	})
}

func TestHostThatWasAwayTooLongDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t)
		m := s.mustJoin()
		s.later(pki.HostLife + pki.AwayLife + time.Hour)
		_, err := s.dial(nil).Renew(t.Context(), &agentpb.RenewRequest{HostId: m.id, Csr: request(t, m.key)})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "enrol it again") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestCopyGetsAnIdentityOfItsOwn(t *testing.T) {
	s := newSide(t)
	original := s.mustJoin()
	if _, first, err := s.open(original); err != nil || first.GetWelcome() == nil {
		t.Fatalf("got %v, %v", first, err)
	}
	_, first, err := s.openAt(s.dial(original), 2) // the copy, on another machine
	if err != nil || first.GetRefused().GetCode() != agentpb.Refused_EPOCH_REUSED {
		t.Fatalf("got %v, %v", first, err)
	}
	key := newKey(t)
	answer, err := s.dial(original).Join(t.Context(), &agentpb.JoinRequest{
		Csr: request(t, key), Machine: &agentpb.Machine{Hostname: "web1", Fingerprint: [][]byte{{2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	clone, err := s.engine.Host("acme", answer.HostId)
	if err != nil || clone.CloneOf != original.id || clone.Name != "web1-2" || clone.Site != "utrecht" {
		t.Fatalf("the copy is known as %+v, %v", clone.Host, err)
	}
}

func TestRevocationCutsAnOpenStream(t *testing.T) {
	s := newSide(t)
	m := s.mustJoin()
	stream, first, err := s.open(m)
	if err != nil || first.GetWelcome() == nil {
		t.Fatalf("got %v, %v", first, err)
	}
	if err := s.engine.Revoke(t.Context(), "acme", m.id, "alice"); err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			t.Fatalf("the stream ended without saying why: %v", err)
		}
		if msg.GetRefused().GetCode() == agentpb.Refused_REVOKED {
			break
		}
	}
	for err == nil {
		_, err = stream.Recv()
	}
}

// FuzzStream sends a host's stream whatever bytes, as messages after a hello; the
// collector answers or ends the stream, and takes the next.
func FuzzStream(f *testing.F) {
	for _, m := range []*agentpb.AgentMessage{
		{Message: &agentpb.AgentMessage_Definitions{Definitions: &agentpb.Definitions{
			Tasks:  []*agentpb.TaskDefinition{{Number: 1, Check: "disk"}},
			States: []*agentpb.StateDefinition{{Number: 1, Task: 1, Item: "/", Metrics: []*agentpb.MetricDefinition{{Name: "free_bytes"}}}},
		}}},
		{Message: &agentpb.AgentMessage_Batch{Batch: &agentpb.Batch{Epoch: 7, Runs: []*agentpb.PackedRun{{
			Sequence: 1, Task: 1, PlannedMs: 1 << 62, NextWithinMs: 1 << 31, Results: []*agentpb.PackedResult{{State: 1, Values: []float64{1}}},
		}}}}},
		{Message: &agentpb.AgentMessage_Gap{Gap: &agentpb.Gap{Epoch: 7, From: 1, To: 1 << 63}}},
		{Message: &agentpb.AgentMessage_Goodbye{Goodbye: &agentpb.Goodbye{Reason: 99}}},
		{Message: &agentpb.AgentMessage_Declarations{Declarations: &agentpb.Declarations{Declarations: []*agentpb.Declaration{
			{Check: "crystal_ball", Yaml: []byte("name: crystal_ball")}, {Check: "disk"},
		}}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	s := newSide(f)
	m := s.mustJoin()
	_, first, err := s.open(m)
	if err != nil {
		f.Fatal(err)
	}
	visit := first.GetWelcome().GetVisit()
	f.Fuzz(func(t *testing.T, data []byte) {
		var msg agentpb.AgentMessage
		if proto.Unmarshal(data, &msg) != nil {
			return
		}
		session, welcome, err := s.engine.Connect(t.Context(), m.id, &agentpb.Hello{
			Protocol: engine.Protocol, NowMs: time.Now().UnixMilli(), Visit: visit,
			Machine: &agentpb.Machine{Fingerprint: [][]byte{{1}}}, Epochs: []*agentpb.EpochRange{{Epoch: 7, First: 1, Newest: 1 << 63}},
			Checks: []*agentpb.CheckDigest{{Check: "crystal_ball", Sha256: make([]byte, 32)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		visit = welcome.Visit
		defer session.Close()
		if err := session.Define(&agentpb.Definitions{
			Tasks:  []*agentpb.TaskDefinition{{Number: 1, Check: "disk"}},
			States: []*agentpb.StateDefinition{{Number: 1, Task: 1, Item: "/", Metrics: []*agentpb.MetricDefinition{{Name: "free_bytes"}}}},
		}); err != nil {
			t.Fatal(err)
		}
		_ = ingest.Take(t.Context(), session, &msg)
	})
}
