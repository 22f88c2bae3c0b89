package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/wacht-io/wacht/checks/internal/route"
)

// local tests the layers on and beside this machine. It answers which is broken.
func (t *test) local(ctx context.Context) (layer string, err error) {
	way, noWay := route.Default()
	if noWay != nil && !errors.Is(noWay, route.ErrNone) {
		return "gateway", noWay
	}
	links, err := connected(way.Interface)
	if err != nil {
		return "link", err
	}
	if err := addressed(links, way.Gateway); err != nil {
		return "address", err
	}
	if noWay != nil {
		return "gateway", noWay
	}
	return "gateway", t.gateway(ctx, way.Gateway)
}

// connected returns the interface of the default route or, without one, all that could
// have it, once one is connected.
func connected(name string) ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	all = slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagLoopback != 0 || name != "" && i.Name != name
	})
	if len(all) == 0 {
		return nil, errors.New("this machine has no network interface")
	}
	up := slices.DeleteFunc(slices.Clone(all), func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0
	})
	if len(up) > 0 {
		return up, nil
	}
	why := "is not connected"
	if all[0].Flags&net.FlagUp == 0 {
		why = "is switched off"
	}
	return nil, fmt.Errorf("%s %s", names(all), why)
}

func names(all []net.Interface) string {
	out := make([]string, len(all))
	for i := range all {
		out[i] = all[i].Name
	}
	return strings.Join(out, ", ")
}

// addressed demands an address that reaches beyond the link.
func addressed(links []net.Interface, gateway netip.Addr) error {
	for i := range links {
		addrs, err := links[i].Addrs()
		if err != nil {
			return fmt.Errorf("listing the addresses of %s: %w", links[i].Name, err)
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().IsGlobalUnicast() && (!gateway.IsValid() || prefix.Addr().Is4() == gateway.Is4()) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s has no address, or only link-local ones: nobody has given it one (DHCP)", names(links))
}

// The time in which a gateway answers.
const (
	pings    = 3
	pingGap  = 300 * time.Millisecond
	pingWait = 2 * time.Second
)

// gateway demands that the gateway is there: it answers pings or, if it has never done
// so, is known to the link.
func (t *test) gateway(ctx context.Context, addr netip.Addr) error {
	rtt, asked := ping(ctx, addr)
	if rtt > 0 {
		t.rtt, t.known = rtt, t.known.with(addr.WithZone(""))
		return nil
	}
	answeredBefore := slices.Contains(t.known, addr.WithZone(""))
	switch {
	case route.Neighbour(addr) && (!asked || !answeredBefore):
		return nil // it is set not to answer, or we may not ask
	case !asked && addr.Is6():
		return nil // nothing tells us: the layers above will
	case answeredBefore:
		return fmt.Errorf("%s does not answer any more", addr)
	}
	return fmt.Errorf("%s is not there", addr)
}

// ping asks until an answer comes and returns the round trip, or zero. It says whether
// this process may ask.
func ping(ctx context.Context, addr netip.Addr) (rtt time.Duration, asked bool) {
	rtt, err := echo(ctx, addr, runtime.GOOS == "windows")
	if errors.Is(err, os.ErrPermission) {
		rtt, err = echo(ctx, addr, true) // for root and CAP_NET_RAW
	}
	return rtt, err == nil
}

func echo(ctx context.Context, addr netip.Addr, raw bool) (time.Duration, error) {
	p := probing.New(addr.String())
	p.SetIPAddr(&net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()})
	p.SetLogger(probing.NoopLogger{})
	p.SetPrivileged(raw)
	p.Count, p.Interval, p.Timeout = pings, pingGap, pingWait
	p.RecordRtts, p.RecordTTLs = false, false
	sent := false
	p.OnSend = func(*probing.Packet) { sent = true }
	p.OnRecv = func(*probing.Packet) { p.Stop() }
	err := p.RunWithContext(ctx)
	s := p.Statistics()
	switch {
	case s.PacketsRecv > 0:
		return max(s.MinRtt, time.Nanosecond), nil // the wall clock may have been set back
	case errors.Is(err, os.ErrPermission) && !sent:
		return 0, err
	}
	return 0, nil
}
