package route

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Default reads the default route through a gateway, IPv4 before IPv6 and the lowest
// metric first.
func Default() (Route, error) {
	for _, table := range []struct {
		path string
		read func(io.Reader) (Route, error)
	}{
		{"/proc/self/net/route", readRoutes4},
		{"/proc/self/net/ipv6_route", readRoutes6},
	} {
		f, err := os.Open(table.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the kernel was built or started without this family
		}
		if err != nil {
			return Route{}, fmt.Errorf("reading routes: %w", err)
		}
		found, err := table.read(f)
		_ = f.Close() // it was only read
		if err != nil || found.Gateway.IsValid() {
			return found, err
		}
	}
	return Route{}, ErrNone
}

// Flags of a route, from the kernel's include/uapi/linux/route.h.
const (
	routeUp      = 0x1
	routeGateway = 0x2
)

// readRoutes4 reads the form of /proc/net/route: addresses are in the machine's own
// byte order. Without a default route the address is not valid.
func readRoutes4(r io.Reader) (Route, error) {
	var best lowest
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || !usable(f[3]) {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		metric, errMetric := strconv.ParseUint(f[6], 10, 32)
		if err != nil || errMetric != nil || len(raw) != 4 {
			continue
		}
		var addr [4]byte
		binary.NativeEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
		best.offer(Route{netip.AddrFrom4(addr), f[0]}, metric)
	}
	return best.result(scan.Err())
}

// readRoutes6 reads the form of /proc/net/ipv6_route.
func readRoutes6(r io.Reader) (Route, error) {
	var best lowest
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || !usable(f[8]) {
			continue
		}
		raw, err := hex.DecodeString(f[4])
		metric, errMetric := strconv.ParseUint(f[5], 16, 32)
		if err != nil || errMetric != nil || len(raw) != 16 {
			continue
		}
		addr := netip.AddrFrom16([16]byte(raw))
		if addr.IsLinkLocalUnicast() {
			addr = addr.WithZone(f[9])
		}
		best.offer(Route{addr, f[9]}, metric)
	}
	return best.result(scan.Err())
}

func usable(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&(routeUp|routeGateway) == routeUp|routeGateway
}

// lowest keeps the route with the lowest metric, the first of several.
type lowest struct {
	route  Route
	metric uint64
}

func (l *lowest) offer(r Route, metric uint64) {
	if !l.route.Gateway.IsValid() || metric < l.metric {
		l.route, l.metric = r, metric
	}
}

func (l *lowest) result(err error) (Route, error) {
	if err != nil {
		return Route{}, fmt.Errorf("reading routes: %w", err)
	}
	return l.route, nil
}

// Neighbour says whether the link knows the address, by ARP: the machine is there,
// whatever it answers.
func Neighbour(addr netip.Addr) bool {
	f, err := os.Open("/proc/self/net/arp")
	if err != nil {
		return false
	}
	defer f.Close()
	return complete(f, addr)
}

// complete reads the form of /proc/net/arp, whose flag 2 marks what has answered
// (ATF_COM in include/uapi/linux/if_arp.h).
func complete(r io.Reader, addr netip.Addr) bool {
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) < 3 || f[0] != addr.String() {
			continue
		}
		flags, err := strconv.ParseUint(f[2], 0, 32)
		return err == nil && flags&0x2 != 0
	}
	return false
}
