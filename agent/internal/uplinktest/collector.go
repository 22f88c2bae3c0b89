// Package uplinktest is a collector in memory for tests of the agent: it speaks the
// whole contract, keeps everything that arrived, and can be made to fail.
package uplinktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// RunID identifies a run.
type RunID struct{ Epoch, Sequence uint64 }

// Host is what the collector has of one host. Its fields are read by tests through
// Collector.Host, which returns a copy of the maps it needs.
type Host struct {
	ID           string
	key          [sha256.Size]byte
	visit        uint64
	Revoked      bool
	Pending      bool
	Streams      int
	Hello        *agentpb.Hello
	Cursors      map[uint64]*[2]uint64
	Runs         []Received
	Gaps         []*agentpb.Gap
	Answers      []*agentpb.PolicyAnswer
	Declarations map[string]string
	Goodbye      *agentpb.Goodbye
	Renewals     int
}

// Received is a run as it arrived, with its names and summaries filled in.
type Received struct {
	RunID
	Lane            agentpb.Lane
	Check, Instance string
	PlannedMs       int64
	Complete        bool
	Items           []string
	Summaries       []string
	At              time.Time
}

// Collector is the fake. Fields are set before it is used, or through Set.
type Collector struct {
	agentpb.UnimplementedCollectorServer

	// Lifetime is that of the certificates it gives.
	Lifetime time.Duration
	// Hold keeps acknowledgements back; Twice sends each twice.
	Hold, Twice bool
	// Down refuses connections.
	Down bool
	// Policy is sent after each Welcome when its revision is not the agent's.
	Policy *agentpb.Policy
	// Wanted are declarations that it asks for.
	Wanted []string
	// Refuse names runs that it refuses, by sequence.
	Refuse map[uint64]bool
	// MaxMessage is Welcome's max_message_bytes.
	MaxMessage uint32
	// Protocol is the version that it speaks.
	Protocol uint32
	// Skew is added to its clock.
	Skew time.Duration

	mu       sync.Mutex
	ca       *x509.Certificate
	caKey    *ecdsa.PrivateKey
	hosts    map[string]*Host
	tokens   map[string]bool
	conns    map[net.Conn]struct{}
	listener *bufconn.Listener
	server   *grpc.Server
	largest  int
	news     chan struct{} // closed, and replaced, when something arrives
}

// New starts a collector that is reached through Dial alone.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{
		Lifetime: 30 * 24 * time.Hour, Protocol: agentpb.ProtocolVersion, MaxMessage: 1 << 20,
		hosts: map[string]*Host{}, tokens: map[string]bool{}, conns: map[net.Conn]struct{}{},
		listener: bufconn.Listen(64 << 10), news: make(chan struct{}),
	}
	c.makeAuthority(t)
	c.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(c.tls())),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	agentpb.RegisterCollectorServer(c.server, c)
	go func() { _ = c.server.Serve(c.listener) }()
	t.Cleanup(func() {
		c.Cut()
		c.server.Stop()
	})
	return c
}

// Listen makes the collector reachable over TCP too and returns its address.
func (c *Collector) Listen(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.server.Serve(l) }()
	return l.Addr().String()
}

// Set changes fields of a running collector.
func (c *Collector) Set(f func(*Collector)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// Dial connects in memory.
func (c *Collector) Dial(ctx context.Context, _ string) (net.Conn, error) {
	c.mu.Lock()
	down := c.Down
	c.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	conn, err := c.listener.DialContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	c.mu.Lock()
	c.conns[conn] = struct{}{}
	c.mu.Unlock()
	return conn, nil
}

// Cut breaks all connections.
func (c *Collector) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

// Host returns a snapshot of a host, or nil.
func (c *Collector) Host(id string) *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[id]
	if h == nil {
		return nil
	}
	snapshot := *h
	snapshot.Runs = append([]Received(nil), h.Runs...)
	snapshot.Gaps = append([]*agentpb.Gap(nil), h.Gaps...)
	return &snapshot
}

// Await waits until a host's state is as wanted, which is asked whenever something
// arrives, or ctx ends.
func (c *Collector) Await(ctx context.Context, id string, wanted func(*Host) bool) error {
	for {
		c.mu.Lock()
		news := c.news
		c.mu.Unlock()
		if h := c.Host(id); h != nil && wanted(h) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", id, ctx.Err())
		}
	}
}

// tell wakes who waits. The caller holds mu.
func (c *Collector) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// Hosts returns the ids of the hosts that joined.
func (c *Collector) Hosts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.hosts {
		ids = append(ids, id)
	}
	return ids
}

// Revoke shuts a host out, and ends its stream.
func (c *Collector) Revoke(id string) {
	c.mu.Lock()
	c.hosts[id].Revoked = true
	c.mu.Unlock()
	c.Cut()
}

// Wait makes a host wait for approval, or ends that, and ends its stream.
func (c *Collector) Wait(id string, pending bool) {
	c.mu.Lock()
	c.hosts[id].Pending = pending
	c.mu.Unlock()
	c.Cut()
}

// Token makes a token for one use.
func (c *Collector) Token() string {
	t := agentpb.Token{Pin: agentpb.Pin(c.ca)}
	_, _ = rand.Read(t.ID[:])
	_, _ = rand.Read(t.Secret[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[t.String()] = true
	return t.String()
}

func (c *Collector) now() time.Time { return time.Now().Add(c.Skew) }

func (c *Collector) makeAuthority(t testing.TB) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().AddDate(-20, 0, 0), NotAfter: time.Now().AddDate(30, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c.caKey = key
	if c.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
}

func (c *Collector) sign(tmpl *x509.Certificate, public any) ([]byte, error) {
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.ca, public, c.caKey)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return der, nil
}

func (c *Collector) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
		Time: func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now() },
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return nil, fmt.Errorf("making a key: %w", err)
			}
			c.mu.Lock()
			now := c.now()
			c.mu.Unlock()
			der, err := c.sign(&x509.Certificate{
				DNSNames: []string{agentpb.ServerName}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
				ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}, key.Public())
			return &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key}, err
		},
	}
}

func (c *Collector) issue(h *Host, csr *x509.CertificateRequest) ([][]byte, error) {
	now := c.now()
	der, err := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: h.ID}, URIs: []*url.URL{agentpb.HostURI(h.ID)},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(c.Lifetime),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey)
	return [][]byte{der, c.ca.Raw}, err
}
