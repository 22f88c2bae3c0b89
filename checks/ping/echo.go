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
	p := probing.New(addr.String())
	p.SetIPAddr(&net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()})
	p.SetLogger(probing.NoopLogger{})
	// Windows has no ICMP for everybody; there the agent is a service of the system.
	p.SetPrivileged(runtime.GOOS == "windows")
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
		return reply{}, explain(err)
	}
	return reply{
		sent: s.PacketsSent + unsent, received: s.PacketsRecv,
		least: s.MinRtt, mean: s.AvgRtt, most: s.MaxRtt, sd: s.StdDevRtt,
	}, nil
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
	if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("sending: %w", err)
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the system allows ICMP only to administrators (%w)", syscall.EACCES)
	}
	return fmt.Errorf(`the kernel does not allow ICMP to this user's groups (%w): `+
		`set it with sysctl -w net.ipv4.ping_group_range="0 2147483647", and in /etc/sysctl.d to keep it`, syscall.EACCES)
}
