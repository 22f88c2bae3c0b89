package ping

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/wacht-io/wacht/checks/internal/outward"
)

// echo sends the packets of one target and awaits the answers.
func echo(ctx context.Context, addr netip.Addr, cfg config) (reply, error) {
	if err := reachable(ctx, addr); err != nil {
		return reply{}, err
	}
	// Windows has no ICMP for everybody; there the agent is a service of the system.
	if runtime.GOOS == "windows" {
		return send(ctx, addr, cfg, true)
	}
	r, err := send(ctx, addr, cfg, false)
	if !denied(err) {
		return r, err
	}
	// Linux has raw sockets for root and CAP_NET_RAW whatever it forbids everybody.
	if r, raw := send(ctx, addr, cfg, true); !denied(raw) {
		return r, raw
	}
	return reply{}, explain(err)
}

// send is echo by the sockets that everybody may have, or by raw ones.
func send(ctx context.Context, addr netip.Addr, cfg config, raw bool) (reply, error) {
	p := probing.New(addr.String())
	p.SetIPAddr(&net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()})
	p.SetLogger(probing.NoopLogger{})
	p.SetPrivileged(raw)
	p.Count, p.Interval, p.Timeout = cfg.count, cfg.interval, cfg.each()
	p.RecordRtts, p.RecordTTLs = false, false
	unsent := 0
	p.OnSendError = func(*probing.Packet, error) { unsent++ }
	err := p.RunWithContext(ctx)
	s := p.Statistics()
	switch {
	case err != nil && s.PacketsSent == 0 && unsent > 0:
		return reply{}, fmt.Errorf("sending to %s: %w", addr, outward.Plain(err))
	case err != nil && s.PacketsSent == 0:
		return reply{}, &socketError{err}
	}
	return reply{
		sent: s.PacketsSent + unsent, received: s.PacketsRecv,
		least: s.MinRtt, mean: s.AvgRtt, most: s.MaxRtt, sd: s.StdDevRtt,
	}, nil
}

// socketError is a failure before anything could be sent.
type socketError struct{ error }

func (e *socketError) Unwrap() error { return e.error }

func (e *socketError) Error() string { return "opening an ICMP socket: " + e.error.Error() }

// denied says that the kernel has no such socket for this process. A firewall that
// forbids the packets themselves is another thing.
func denied(err error) bool {
	_, socket := errors.AsType[*socketError](err)
	return socket && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM))
}

// reachable says whether there is a way to the address that this process may take,
// without sending anything. The sender would try for ever where a route prohibits.
func reachable(ctx context.Context, addr netip.Addr) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(addr, 7).String())
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s can't be pinged: it is a broadcast address, or a route prohibits it (%w)", addr, syscall.EACCES)
	case err != nil:
		return fmt.Errorf("no way to %s: %w", addr, outward.Plain(err))
	}
	return conn.Close()
}

// explain says what to set where the kernel has no ICMP sockets for this user.
func explain(err error) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the system allows ICMP only to administrators: %w", err)
	}
	return fmt.Errorf("the kernel does not allow ICMP to this user's groups (%w): "+
		`set it with sysctl -w net.ipv4.ping_group_range="0 2147483647", and in /etc/sysctl.d to keep it`, syscall.EACCES)
}
