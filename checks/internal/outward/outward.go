// Package outward opens the connections of checks that test something over the
// network. A name is resolved once, and the connection goes to an address that
// was found: what is tested, timed and reported is the same machine throughout.
package outward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// maxAddresses bounds how many addresses of a name are tried.
const maxAddresses = 4

// Deadline returns a context that ends a little before ctx does, so that a test
// that hangs still leaves time to say in which step.
func Deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(time.Until(end)/10, time.Second)
	return context.WithDeadline(ctx, end.Add(-margin))
}

// Resolve returns the addresses of host, best first as RFC 6724 sorts them. An
// address stands for itself.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, Plain(err))
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// Connect opens a TCP connection to the first address that answers. What is left
// of ctx's time is shared by the addresses that are still to be tried.
func Connect(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	var errs []error
	for i, addr := range addrs {
		conn, err := connect(ctx, netip.AddrPortFrom(addr, port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("connecting to %s: %w", netip.AddrPortFrom(addr, port), Plain(err)))
	}
	if len(errs) == 0 {
		return nil, errors.New("connecting: no address to connect to")
	}
	return nil, errors.Join(errs...)
}

func connect(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}

// SplitHostPort splits "host:port" and verifies the port.
func SplitHostPort(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", address)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q is not host:port with a port from 1 to 65535", address)
	}
	return host, uint16(n), nil
}

// Plain reduces a network error to its cause, without the addresses that the
// wrapping errors of package net repeat.
func Plain(err error) error {
	if IsTimeout(err) {
		return errors.New("timed out")
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(e.Err)
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}

// IsTimeout says whether err is that time ran out, by a context or a deadline.
func IsTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
