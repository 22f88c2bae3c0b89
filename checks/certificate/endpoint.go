package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/outward"
)

// endpoint asks a server for its certificates.
func (cfg *config) endpoint(ctx context.Context, endpoint string, now time.Time) checks.Result {
	var steps outward.Steps
	chain := cfg.ask(ctx, endpoint, &steps)
	return result(endpoint, chain, now, &steps)
}

// ask takes the steps and returns the chain, also one that is not accepted.
func (cfg *config) ask(ctx context.Context, endpoint string, steps *outward.Steps) []*x509.Certificate {
	host, port, err := outward.SplitHostPort(endpoint)
	if err != nil {
		steps.Fail("dns", err)
		return nil
	}
	conn := connect(ctx, host, port, steps)
	if conn == nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // a connection without one is closed by the line above
	}
	if cfg.starttls != "none" && !steps.Do("starttls", func() error { return startTLS(cfg.starttls, conn) }) {
		return nil
	}
	name := cfg.serverName
	if name == "" {
		name = host
	}
	var chain []*x509.Certificate
	steps.Do("tls", func() (err error) {
		chain, err = cfg.handshake(ctx, conn, name, steps)
		return err
	})
	return chain
}

func connect(ctx context.Context, host string, port uint16, steps *outward.Steps) net.Conn {
	var (
		addrs []netip.Addr
		conn  net.Conn
	)
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{addr}
	} else if !steps.Do("dns", func() (err error) { addrs, err = outward.Resolve(ctx, host); return err }) {
		return nil
	}
	if !steps.Do("connect", func() (err error) { conn, err = outward.Connect(ctx, addrs, port); return err }) {
		return nil
	}
	return conn
}

// handshake returns the chain of the server. A server that wants a certificate of
// ours too may break off: by then its own has been seen and accepted.
func (cfg *config) handshake(ctx context.Context, conn net.Conn, name string, steps *outward.Steps) ([]*x509.Certificate, error) {
	var accepted []*x509.Certificate
	client := tls.Client(conn, &tls.Config{
		ServerName: name,
		RootCAs:    cfg.roots,
		VerifyConnection: func(state tls.ConnectionState) error {
			accepted = longestLived(state.VerifiedChains)
			return nil
		},
	})
	err := client.HandshakeContext(ctx)
	if accepted != nil {
		return accepted, nil
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		steps.Fail("verify", e.Err)
		return e.UnverifiedCertificates, nil
	}
	if err == nil {
		err = errors.New("the server showed no certificate")
	}
	return nil, fmt.Errorf("with %s: %w", name, outward.Plain(err))
}

// longestLived returns, without its root, the chain that will be accepted longest:
// clients find it too.
func longestLived(chains [][]*x509.Certificate) []*x509.Certificate {
	var best []*x509.Certificate
	for _, chain := range chains {
		if len(chain) > 1 {
			chain = chain[:len(chain)-1]
		}
		if best == nil || firstToExpire(chain).NotAfter.After(firstToExpire(best).NotAfter) {
			best = chain
		}
	}
	return best
}
