package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/wacht-io/wacht/checks/internal/outward"
)

// maxBody bounds how much of a body is read and looked into, in bytes.
const maxBody = 1 << 20

// fetch is one request with the redirects that it leads to.
type fetch struct {
	cfg   *config
	trace *trace
	// inside is set when the first connection goes to a private network or this
	// machine, after which redirects may lead there too.
	inside    bool
	connected bool

	status      int
	contentType string
	body        []byte
	redirects   int
	notAfter    time.Time
}

func newFetch(cfg *config) *fetch {
	return &fetch{cfg: cfg, trace: newTrace()}
}

// get takes all steps and returns the failure of the first that failed.
func (f *fetch) get(ctx context.Context) error {
	req, err := nethttp.NewRequestWithContext(f.trace.attach(ctx), f.cfg.method, f.cfg.url.String(), nethttp.NoBody)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("User-Agent", "wacht-agent")
	transport := f.transport()
	defer transport.CloseIdleConnections()
	client := nethttp.Client{Transport: authorizing{transport, f.cfg}, CheckRedirect: f.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return cause(err)
	}
	defer resp.Body.Close()
	return f.read(resp)
}

func (f *fetch) transport() *nethttp.Transport {
	return &nethttp.Transport{
		DialContext:            f.dial,
		TLSClientConfig:        &tls.Config{RootCAs: f.cfg.roots},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func (f *fetch) redirect(_ *nethttp.Request, via []*nethttp.Request) error {
	if len(via) > f.cfg.redirects {
		return nethttp.ErrUseLastResponse
	}
	f.redirects = len(via)
	return nil
}

// read takes the answer in and judges it.
func (f *fetch) read(resp *nethttp.Response) error {
	f.status, f.contentType = resp.StatusCode, resp.Header.Get("Content-Type")
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		f.notAfter = resp.TLS.PeerCertificates[0].NotAfter
	}
	f.trace.begin("body")
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	f.body = body
	if wrong := f.cfg.expected(resp.StatusCode); wrong != nil {
		f.trace.begin("status")
		return wrong
	}
	if err != nil {
		return fmt.Errorf("reading it, after %d bytes: %w", len(body), outward.Plain(err))
	}
	f.trace.end("body")
	return f.cfg.content.in(body)
}

// dial resolves once and connects to what was found.
func (f *fetch) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := outward.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := f.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	f.trace.begin("connect")
	if addrs, err = f.allowed(addrs); err != nil {
		return nil, err
	}
	conn, err := outward.Connect(ctx, addrs, port)
	if err == nil {
		f.trace.end("connect")
	}
	return conn, err
}

func (f *fetch) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	f.trace.begin("dns")
	addrs, err := outward.Resolve(ctx, host)
	if err == nil {
		f.trace.end("dns")
	}
	return addrs, err
}

// allowed leaves out addresses that this request must not go to.
func (f *fetch) allowed(addrs []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap()
		if addr.IsLinkLocalUnicast() && !f.cfg.linkLocal || f.connected && !f.inside && !public(addr) {
			continue
		}
		out = append(out, addr)
	}
	if len(out) == 0 && f.connected && !f.inside {
		return nil, fmt.Errorf("the redirect leads from a public address into a private network, to %v", addrs)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%v is a link-local address, which the parameter link_local does not allow", addrs)
	}
	if !f.connected {
		f.connected, f.inside = true, !public(out[0])
	}
	return out, nil
}

func public(addr netip.Addr) bool {
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !shared.Contains(addr)
}

// authorizing adds the credential to requests to its own origin, and to no other.
type authorizing struct {
	next nethttp.RoundTripper
	cfg  *config
}

// RoundTrip implements net/http's RoundTripper.
func (a authorizing) RoundTrip(req *nethttp.Request) (*nethttp.Response, error) {
	if a.cfg.authorize != "" && origin(req.URL) == a.cfg.origin {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", a.cfg.authorize)
	}
	return a.next.RoundTrip(req)
}

// cause takes away the method and the URL, which may hold what is nobody's business.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if outward.IsTimeout(err) {
		return outward.Plain(err)
	}
	return err
}
