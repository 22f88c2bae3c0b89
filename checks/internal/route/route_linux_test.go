package route

import (
	"net/netip"
	"strings"
	"testing"
)

const header4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestReadRoutes4(t *testing.T) {
	for name, tt := range map[string]struct{ table, want string }{
		"usual": {
			"eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
				"eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n", "192.168.2.1"},
		"lowest metric": {
			"wlan0\t00000000\t0103A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n" +
				"eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", "192.168.2.1"},
		"half of everything is no default": {"tun0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n", ""},
		"default without a gateway":        {"ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", ""},
		"route is down":                    {"eth0\t00000000\t0102A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n", ""},
		"none":                             {"", ""},
		"broken":                           {"eth0\t00000000\tzz\t0003\t0\t0\t0\t00000000\n", ""},
	} {
		got, err := readRoutes4(strings.NewReader(header4 + tt.table))
		if err != nil || shown(got.Gateway) != tt.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, err, tt.want)
		}
	}
}

func shown(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

func TestReadRoutes6(t *testing.T) {
	const zero = "00000000000000000000000000000000"
	for name, tt := range map[string]struct{ table, want string }{
		"router": {zero + " 00 " + zero + " 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n", "fd00::1"},
		"link-local router": {zero + " 00 " + zero + " 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n",
			"fe80::1%eth0"},
		"unreachable default of lo": {zero + " 00 " + zero + " 00 " + zero + " ffffffff 00000001 00000000 00200200       lo\n", ""},
		"a network":                 {"fd000000000000000000000000000000 40 " + zero + " 00 " + zero + " 00000100 00000001 00000000 00000001     eth0\n", ""},
		"none":                      {"", ""},
	} {
		got, err := readRoutes6(strings.NewReader(tt.table))
		if err != nil || shown(got.Gateway) != tt.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, err, tt.want)
		}
	}
}

func TestComplete(t *testing.T) {
	const table = "IP address       HW type     Flags       HW address            Mask     Device\n" +
		"192.168.2.1      0x1         0x2         02:fc:00:00:00:01     *        eth0\n" +
		"192.168.2.9      0x1         0x0         00:00:00:00:00:00     *        eth0\n"
	for addr, want := range map[string]bool{"192.168.2.1": true, "192.168.2.9": false, "192.168.2.10": false, "fd00::1": false} {
		if got := complete(strings.NewReader(table), netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v", addr, got)
		}
	}
}

func FuzzReadRoutes(f *testing.F) {
	f.Add([]byte(header4 + "eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		for _, read := range []func() (Route, error){
			func() (Route, error) { return readRoutes4(strings.NewReader(string(table))) },
			func() (Route, error) { return readRoutes6(strings.NewReader(string(table))) },
		} {
			if found, err := read(); err != nil && found.Gateway.IsValid() {
				t.Errorf("both %v and %v", found, err)
			}
		}
	})
}
