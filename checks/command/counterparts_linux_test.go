package command_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wacht-io/wacht/checks"
)

// overTheNetwork are the programs that talk to a server. Each has one on loopback that
// speaks as much of the protocol as the program asks for.
func overTheNetwork(t *testing.T) map[string]expected {
	ok, here := status(checks.OK), "127.0.0.1"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Welcome") }))
	secure := httptest.NewUnstartedServer(nil)
	secure.StartTLS()
	t.Cleanup(web.Close)
	t.Cleanup(secure.Close)
	certificates := secure.TLS
	webPort := port(t, web.Listener.Addr())
	name := "wacht.example.net"
	table := map[string]expected{
		"check_http": {args("-I", here, "-p", webPort, "-s", "Welcome"), ok, "HTTP OK: HTTP/1.0 200 OK", args("time", "size")},
		"check_curl": {args("-I", here, "-H", name, "-p", webPort, "-s", "Welcome"), ok, "HTTP OK: HTTP/1.1 200 OK", args("time", "size")},
		"check_udp":  {args("-H", here, "-p", echo(t), "-s", "hello", "-e", "hello"), ok, "UDP OK", args("time")},
		"check_dig":  {args("-H", here, "-p", nameServer(t, "127.0.0.1:0"), "-l", name, "-a", "192.0.2.7"), ok, "DNS OK", args("time")},
		"check_dns":  {args("-s", "127.0.53.53", "-H", name, "-a", "192.0.2.7"), ok, "returns 192.0.2.7", args("time")},
		"check_time": {args("-H", here, "-p", serve(t, nil, timeProtocol), "-W", "60", "-C", "120"), ok, "TIME OK", args("time", "offset")},
		"check_ssh":  {args("-p", serve(t, nil, says("SSH-2.0-Wacht_1.0 test\r\n")), here), ok, "SSH OK - Wacht_1.0", args("time")},
	}
	nameServer(t, "127.0.53.53:53")
	ntp := timeServer(t)
	table["check_ntp_time"] = expected{args("-H", here, "-p", ntp, "-w", "60", "-c", "120"), ok, "NTP OK: Offset", args("offset")}
	table["check_ntp"] = expected{args("-H", here, "-w", "60", "-c", "120", "-t", "1"), status(checks.Critical), "CRITICAL", nil}
	table["check_ntp_peer"] = expected{args("-H", here, "-p", "1", "-t", "1"), status(checks.Critical), "CRITICAL", nil}
	for program, conversation := range map[string]conversation{
		"check_tcp":    says("hello\r\n"),
		"check_ftp":    says("220 ready\r\n"),
		"check_smtp":   says("220 ready ESMTP\r\n", "250 ready\r\n", "221 bye\r\n"),
		"check_imap":   says("* OK ready\r\n", "* BYE\r\n"),
		"check_pop":    says("+OK ready\r\n", "+OK\r\n"),
		"check_nntp":   says("200 ready\r\n", "205 bye\r\n"),
		"check_clamd":  answers("PONG\n"),
		"check_jabber": answers("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\n"),
	} {
		table[program] = expected{args("-H", here, "-p", serve(t, nil, conversation)), ok, " OK - ", args("time")}
	}
	for program, conversation := range map[string]conversation{
		"check_simap": says("* OK ready\r\n", "* BYE\r\n"),
		"check_spop":  says("+OK ready\r\n", "+OK\r\n"),
		"check_nntps": says("200 ready\r\n", "205 bye\r\n"),
		"check_ssmtp": says("220 ready\r\n", "221 bye\r\n"),
	} {
		table[program] = expected{args("-H", here, "-p", serve(t, certificates, conversation)), ok, " OK - ", args("time")}
	}
	table["check_nt"] = expected{args("-H", here, "-p", serve(t, nil, answers("90061\n")), "-v", "UPTIME"), ok, "System Uptime - 1 day(s) 1 hour(s)", args("uptime")}
	table["check_real"] = expected{args("-H", here, "-p", serve(t, nil, answers("RTSP/1.0 200 OK\r\n\r\n"))), ok, "REAL", nil}
	table["check_ups"] = expected{args("-H", here, "-p", serve(t, nil, powerSupply), "-u", "ups"), ok, "UPS OK - Status=Online", args("voltage", "battery", "load", "temp")}
	return table
}

type conversation func(net.Conn)

// says is a server that speaks first, and answers each line with the next text.
func says(texts ...string) conversation {
	return func(c net.Conn) {
		lines := bufio.NewReader(c)
		for _, text := range texts {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			if _, err := lines.ReadString('\n'); err != nil {
				return
			}
		}
	}
}

// answers is a server that answers whatever comes.
func answers(text string) conversation {
	return func(c net.Conn) {
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// timeProtocol is RFC 868: the seconds since 1900.
func timeProtocol(c net.Conn) {
	_ = binary.Write(c, binary.BigEndian, uint32(time.Now().Unix()+2_208_988_800))
}

// powerSupply is NUT's upsd (RFC 9271) with one device.
func powerSupply(c net.Conn) {
	has := map[string]string{
		"ups.status": "OL", "input.voltage": "230.0", "battery.charge": "100", "ups.load": "12", "ups.temperature": "25.0",
	}
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 1 { // LOGOUT
			return
		}
		if len(fields) != 4 || has[fields[3]] == "" {
			_, _ = io.WriteString(c, "ERR VAR-NOT-SUPPORTED\n")
			continue
		}
		_, _ = io.WriteString(c, "VAR ups "+fields[3]+" \""+has[fields[3]]+"\"\n")
	}
}

// serve holds the conversation with whoever connects, with TLS when there are
// certificates, and returns the port.
func serve(t *testing.T, certificates *tls.Config, talk conversation) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := port(t, listener.Addr())
	if certificates != nil {
		listener = tls.NewListener(listener, certificates)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	return number
}

// datagrams answers each datagram, and returns the port.
func datagrams(t *testing.T, addr string, answer func([]byte) []byte) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answer(buffer[:n]), from)
		}
	}()
	return port(t, conn.LocalAddr())
}

func port(t *testing.T, addr net.Addr) string {
	t.Helper()
	_, number, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func echo(t *testing.T) string {
	return datagrams(t, "127.0.0.1:0", func(in []byte) []byte { return in })
}

// timeServer is an NTP server (RFC 5905) of stratum 1 with this machine's time.
func timeServer(t *testing.T) string {
	return datagrams(t, "127.0.0.1:0", func(in []byte) []byte {
		if len(in) < 48 {
			return nil
		}
		out := make([]byte, 48)
		out[0], out[1], out[2], out[3] = 4<<3|4, 1, 4, 0xec
		now := time.Now()
		stamp := uint64(now.Unix()+2_208_988_800)<<32 | uint64(now.Nanosecond())<<32/1e9
		copy(out[24:], in[40:48])
		for _, at := range []int{16, 32, 40} {
			binary.BigEndian.PutUint64(out[at:], stamp)
		}
		return out
	})
}

// nameServer answers every question for an address with 192.0.2.7.
func nameServer(t *testing.T, addr string) string {
	return datagrams(t, addr, func(in []byte) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(in); err != nil || len(m.Questions) != 1 {
			return nil
		}
		m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
			}}
		}
		out, err := m.Pack()
		if err != nil {
			return nil
		}
		return out
	})
}
