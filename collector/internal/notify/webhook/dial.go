package webhook

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// newTransport keeps connections open between deliveries. It takes no proxy from the
// environment: what the proxy connects to could not be checked.
func newTransport(allowPrivate bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		// Checked for the very address of the connection, after the one look-up of its
		// name: a name that changes its mind in between gains nothing.
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return refusePrivate(address) }
	}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: defaultTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          32,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       5 * time.Minute,
		DisableCompression:    true,
	}
}

// refusePrivate refuses addresses that are not on the public internet.
func refusePrivate(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	ip := at.Addr().Unmap().WithZone("")
	if !public(ip) {
		return &notice.SendError{Permanent: true,
			Err: fmt.Errorf("%s is not a public address; set allow_private if it is meant", ip)}
	}
	return nil
}

// public says whether an address can be that of a stranger. Beside what net/netip
// knows it leaves out the special ranges of the IANA registries (RFC 6890), and those
// of IPv6 that carry an IPv4 address inside, which may be a private one.
func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, special := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		if netip.MustParsePrefix(special).Contains(ip) {
			return false
		}
	}
	return true
}
