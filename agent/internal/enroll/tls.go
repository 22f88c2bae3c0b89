package enroll

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// TLS is the configuration for a host that has joined. It shows the host's
// certificate, unless anonymous is set, and trusts the authority that the host
// joined at. notBefore gives the earliest time it can be: the last known time of
// the collector plus what has passed since, for this machine's own clock may lie.
func (id *Identity) TLS(anonymous bool, notBefore func() time.Time) *tls.Config {
	trusted := x509.NewCertPool()
	for _, authority := range id.Chain[1:] {
		trusted.AddCert(authority)
	}
	conf := base(func(state tls.ConnectionState) error {
		return verify(state.PeerCertificates, trusted, notBefore())
	})
	if !anonymous {
		conf.Certificates = []tls.Certificate{id.certificate()}
	}
	return conf
}

// JoinTLS is the configuration for the first contact: it trusts the authority
// whose key the token pins, and no other.
func JoinTLS(token agentpb.Token, now time.Time) *tls.Config {
	return base(func(state tls.ConnectionState) error {
		trusted := x509.NewCertPool()
		pinned := false
		for _, cert := range state.PeerCertificates {
			if cert.IsCA && agentpb.Pin(cert) == token.Pin {
				trusted.AddCert(cert)
				pinned = true
			}
		}
		if !pinned {
			return errors.New("the server at this address is not the collector that made the token, or something on the way answers in its place")
		}
		return verify(state.PeerCertificates, trusted, now)
	})
}

// base replaces the standard verification, which asks the machine's clock and the
// system's authorities, by another. The name is always agentpb.ServerName.
func base(verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         agentpb.ServerName,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, on resumption as well
		VerifyConnection:   verify,
	}
}

// verify holds the presented chain to the trusted authorities. notBefore is a lower
// bound of the time: a certificate that had ended by then is refused, one that
// begins later shows that it is later.
func verify(chain []*x509.Certificate, trusted *x509.CertPool, notBefore time.Time) error {
	if len(chain) == 0 {
		return errors.New("the collector showed no certificate")
	}
	between := x509.NewCertPool()
	at := notBefore
	for i, cert := range chain {
		if i > 0 {
			between.AddCert(cert)
		}
		if cert.NotBefore.After(at) {
			at = cert.NotBefore
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName:       agentpb.ServerName,
		Roots:         trusted,
		Intermediates: between,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("the collector's certificate ended on %s; this machine takes it to be %s or later: check both clocks",
			chain[0].NotAfter.UTC().Format(time.RFC3339), notBefore.UTC().Format(time.RFC3339))
	}
	if _, foreign := errors.AsType[x509.UnknownAuthorityError](err); foreign {
		return errors.New("the server at this address is not the collector that this machine joined, or something on the way answers in its place")
	}
	if err != nil {
		return fmt.Errorf("the collector's certificate can't be trusted: %w", err)
	}
	return nil
}
