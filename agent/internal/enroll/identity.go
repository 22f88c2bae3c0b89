// Package enroll gives a machine its identity: it joins with a token, keeps key
// and certificate, renews them, and verifies the collector it speaks to.
package enroll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/statefile"
)

// ErrNotEnrolled means that the state folder has no identity yet.
var ErrNotEnrolled = errors.New("this machine has not joined a collector: run wacht-agent enroll first")

// Identity is a host's key, made on the machine, and its certificate.
type Identity struct {
	HostID string
	Key    *ecdsa.PrivateKey
	// Chain holds the host's own certificate first, then its authority's.
	Chain []*x509.Certificate
}

const identityName = "identity.pem"

// Load reads the identity from the state folder, or fails with ErrNotEnrolled.
func Load(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotEnrolled
	}
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	id, err := parseIdentity(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

func parseIdentity(data []byte) (*Identity, error) {
	var chain [][]byte
	var key *ecdsa.PrivateKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			chain = append(chain, block.Bytes)
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("reading the key: %w", err)
			}
			var ok bool
			if key, ok = parsed.(*ecdsa.PrivateKey); !ok {
				return nil, fmt.Errorf("the key is a %T, not an ECDSA key", parsed)
			}
		}
	}
	if key == nil {
		return nil, errors.New("there is no private key in it")
	}
	return newIdentity(key, chain)
}

// newIdentity verifies that key and certificates belong together.
func newIdentity(key *ecdsa.PrivateKey, chain [][]byte) (*Identity, error) {
	id := &Identity{Key: key}
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		id.Chain = append(id.Chain, cert)
	}
	if len(id.Chain) < 2 {
		return nil, fmt.Errorf("%d certificates, where the host's and its authority's belong", len(id.Chain))
	}
	if !key.PublicKey.Equal(id.Leaf().PublicKey) {
		return nil, errors.New("the certificate is not that of the key")
	}
	if err := id.Leaf().CheckSignatureFrom(id.Chain[1]); err != nil {
		return nil, fmt.Errorf("the certificate is not its authority's: %w", err)
	}
	var err error
	id.HostID, err = agentpb.HostID(id.Leaf())
	return id, err
}

// Save writes the identity to the state folder: one file, so that key and
// certificate are always of one piece.
func (id *Identity) Save(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		return fmt.Errorf("encoding the key: %w", err)
	}
	var b bytes.Buffer
	for _, cert := range id.Chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer takes everything
	}
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return statefile.Write(filepath.Join(dir, identityName), b.Bytes())
}

// Leaf is the host's own certificate.
func (id *Identity) Leaf() *x509.Certificate { return id.Chain[0] }

// Expires is when the host's certificate ends.
func (id *Identity) Expires() time.Time { return id.Leaf().NotAfter }

// RenewAt is when to renew: with a third of the certificate's life left, earlier by
// up to a twelfth that follows from its serial number, so that hosts which joined
// together do not renew together.
func (id *Identity) RenewAt() time.Time {
	leaf := id.Leaf()
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	serial := leaf.SerialNumber.Bytes()
	earlier := time.Duration(0)
	if n := len(serial); n > 0 {
		earlier = time.Duration(life.Seconds() / 12 * float64(serial[n-1]) / 256 * float64(time.Second))
	}
	return leaf.NotAfter.Add(-life/3 - earlier)
}

func (id *Identity) certificate() tls.Certificate {
	c := tls.Certificate{PrivateKey: id.Key, Leaf: id.Leaf()}
	for _, cert := range id.Chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// request is a PKCS #10 request that proves the key and names nothing: who a host
// is, the collector says.
func request(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return der, nil
}
