// Package pki is the collector's certificate authority: it signs the certificates
// that agents prove themselves with, and its own server certificate, which agents
// trust by the authority's pinned key rather than by a public name.
package pki

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
	"net/url"
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Lifetimes of what the authority signs. A host renews its certificate when a
// third of its life is left, so HostLife / 3 is the longest outage after which it
// still comes back without the way for hosts that were away (Renew without a
// client certificate, up to AwayLife after the certificate ended).
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	HostLife      = 30 * 24 * time.Hour
	AwayLife      = 400 * 24 * time.Hour
	serverLife    = 7 * 24 * time.Hour
	backdate      = time.Hour // tolerates clocks that are behind
)

var table = store.Table{Name: "pki"}

const (
	keyRow  = "authority.key"  // PKCS #8, DER
	certRow = "authority.cert" // X.509, DER
)

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu     sync.Mutex
	server *tls.Certificate
}

// Load reads the authority from the store, and makes and stores one at the first
// start.
func Load(ctx context.Context, s store.Store, now time.Time) (*Authority, error) {
	keyDER, err := s.Get(ctx, &table, "", keyRow)
	if errors.Is(err, store.ErrNotFound) {
		return create(ctx, s, now)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	certDER, err := s.Get(ctx, &table, "", certRow)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the authority's key is a %T, not an ECDSA key", key)
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	return &Authority{key: ec, cert: cert}, nil
}

func create(ctx context.Context, s store.Store, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Wacht collector authority"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	certDER, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the authority's key: %w", err)
	}
	err = s.Commit(ctx, nil, []store.Write{
		{Table: &table, Row: store.Row{Key: keyRow, Value: keyDER}},
		{Table: &table, Row: store.Row{Key: certRow, Value: certDER}},
	})
	if err != nil {
		return nil, fmt.Errorf("storing the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	return &Authority{key: key, cert: cert}, nil
}

// serial is random: 128 bits, as the CA/Browser Forum's Baseline Requirements ask
// of at least 64.
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// Pin is the SHA-256 of the authority's public key, which joining tokens carry.
func (a *Authority) Pin() [sha256.Size]byte {
	return agentpb.Pin(a.cert)
}

// Certificate is the authority's own, DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// KeySHA256 is the digest by which a host's key is known.
func KeySHA256(cert *x509.Certificate) []byte {
	sum := agentpb.Pin(cert)
	return sum[:]
}

// Request is a certificate request whose signature proves its key.
type Request struct{ csr *x509.CertificateRequest }

// maxRequest bounds a request in bytes; that of an agent has some 200.
const maxRequest = 4096

// ParseRequest reads a PKCS #10 request and verifies that its sender holds the key,
// which is an ECDSA key on P-256: verifying others can cost a thousand times as much.
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > maxRequest {
		return nil, fmt.Errorf("the certificate request has %d bytes; at most %d are read", len(der), maxRequest)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate request: %w", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the certificate request has a %T; agents use ECDSA P-256", csr.PublicKey)
	}
	if key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the certificate request has a key on %s; agents use ECDSA P-256", key.Curve.Params().Name)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	return &Request{csr}, nil
}

// KeySHA256 is the digest of the request's public key.
func (r *Request) KeySHA256() []byte {
	sum := sha256.Sum256(r.csr.RawSubjectPublicKeyInfo)
	return sum[:]
}

// SignHost gives a host a certificate for the key of its request. Nothing else of
// the request is used: who a host is, the collector says.
func (a *Authority) SignHost(r *Request, hostID string, now time.Time) (chain [][]byte, until time.Time, err error) {
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: hostID},
		URIs:         []*url.URL{agentpb.HostURI(hostID)},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(HostLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, r.csr.PublicKey, a.key)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("signing the certificate of host %s: %w", hostID, err)
	}
	return [][]byte{der, a.cert.Raw}, tmpl.NotAfter, nil
}

// TLS is the configuration of the agents' listener: a client without certificate
// may join or renew, one with a certificate must have it from this authority.
func (a *Authority) TLS(now func() time.Time) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  pool,
		Time:       now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.serverCertificate(now())
		},
	}
}

func (a *Authority) serverCertificate(now time.Time) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil && now.Before(a.server.Leaf.NotAfter.Add(-serverLife/2)) && now.After(a.server.Leaf.NotBefore) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the server's key: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: agentpb.ServerName},
		DNSNames:     []string{agentpb.ServerName},
		NotBefore:    now.Add(-serverLife / 2),
		NotAfter:     now.Add(serverLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the server's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate: %w", err)
	}
	a.server = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	return a.server, nil
}
