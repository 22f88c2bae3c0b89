package outward

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestSplitHostPort(t *testing.T) {
	for _, tt := range []struct {
		address, host string
		port          uint16
		ok            bool
	}{
		{"example.com:443", "example.com", 443, true},
		{"[2001:db8::1]:22", "2001:db8::1", 22, true},
		{"example.com", "", 0, false},
		{":80", "", 0, false},
		{"example.com:0", "", 0, false},
		{"example.com:65536", "", 0, false},
		{"example.com:http", "", 0, false},
	} {
		host, port, err := SplitHostPort(tt.address)
		if host != tt.host || port != tt.port || (err == nil) != tt.ok {
			t.Errorf("SplitHostPort(%q) = %q, %d, %v", tt.address, host, port, err)
		}
	}
}

func TestConnectGoesOnToTheNextAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	conn, err := Connect(t.Context(), []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("connected to %s", got)
	}
}

func TestConnectNamesEveryAddressThatFailed(t *testing.T) {
	_, err := Connect(t.Context(), []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, 1)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "[::1]:1") {
		t.Errorf("got %v", err)
	}
}

func TestStepsStopAtTheFirstFailure(t *testing.T) {
	var s Steps
	ok := s.Do("dns", func() error { return nil })
	failed := s.Do("connect", func() error { return errors.New("refused") })
	after := s.Do("banner", func() error { t.Error("went on after a failure"); return nil })
	if !ok || failed || after {
		t.Errorf("got %v %v %v", ok, failed, after)
	}
	if len(s.Metrics()) != 1 || s.Metrics()[0].Name != "dns_seconds" {
		t.Errorf("got metrics %v", s.Metrics())
	}
	if got, want := s.Summary(), "connect failed: refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12345 * time.Microsecond: "12.3 ms",
		1400 * time.Millisecond:  "1.4 s",
	} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%d) = %q, want %q", d, got, want)
		}
	}
}
