package host

import (
	"encoding/base64"
	"strings"
	"testing"
)

func line(t testing.TB, version, network, socket, protocol string) string {
	t.Helper()
	id, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{"1", version, network, socket, protocol, base64.RawStdEncoding.EncodeToString(id.cert.Certificate[0])}, "|")
}

func TestHandshake(t *testing.T) {
	for _, tt := range []struct{ name, line, error string }{
		{"good", line(t, "1", "unix", "/run/x/socket", "grpc"), ""},
		{"with more", line(t, "1", "unix", "/run/x/socket", "grpc") + "|true", ""},
		{"with padding", line(t, "1", "unix", "/run/x/socket", "grpc") + "==", ""},
		{"nothing", "", "no handshake"},
		{"prose", "Hello! I am | a | plugin | of | sorts", "no handshake"},
		{"newer", line(t, "2", "unix", "/run/x/socket", "grpc"), "version 2 of the plugin protocol and this agent 1: update the agent"},
		{"older", line(t, "0", "unix", "/run/x/socket", "grpc"), "update the plugin"},
		{"no number", line(t, "one", "unix", "/run/x/socket", "grpc"), "is no number"},
		{"another protocol", line(t, "1", "unix", "/run/x/socket", "netrpc"), "speaks \"netrpc\""},
		{"another network", line(t, "1", "tcp", "127.0.0.1:80", "grpc"), "must be a unix socket"},
		{"another folder", line(t, "1", "unix", "/run/docker.sock", "grpc"), "in its own folder"},
		{"upwards", line(t, "1", "unix", "/run/x/..", "grpc"), "in its own folder"},
		{"through a link", line(t, "1", "unix", "/run/x/../docker.sock", "grpc"), "in its own folder"},
		{"no certificate", "1|1|unix|/run/x/socket|grpc|", "has no certificate"},
		{"odd certificate", "1|1|unix|/run/x/socket|grpc|####", "no base64"},
		{"no DER", "1|1|unix|/run/x/socket|grpc|AAAA", "its certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := parseHandshake(tt.line, "/run/x")
			switch {
			case tt.error == "" && (err != nil || h.socket != "/run/x/socket" || h.cert == nil):
				t.Errorf("got %+v, %v", h, err)
			case tt.error != "" && (err == nil || !strings.Contains(err.Error(), tt.error)):
				t.Errorf("the error must hold %q, but is %v", tt.error, err)
			}
		})
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add(line(f, "1", "unix", "/run/x/socket", "grpc"))
	f.Add("1|1|unix|/run/x/socket|grpc")
	f.Add("1|99999999999999999999|tcp|:|grpc|AA")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHandshake(text, "/run/x")
		if err == nil && (h.cert == nil || !strings.HasPrefix(h.socket, "/run/x/") || strings.Contains(h.socket[len("/run/x/"):], "/")) {
			t.Errorf("%q gives %+v", text, h)
		}
	})
}

func TestLastOfOutput(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"one\ntwo\n", "two"},
		{"a\npanic: oh no\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: oh no"},
		{"fatal error: runtime: out of memory\n\nruntime stack:\nx", "fatal error: runtime: out of memory"},
		{"\xff\n", "?"},
	} {
		o := newOutput(nil)
		_, _ = o.stderr([]byte(tt.text))
		if got := o.last(); got != tt.want {
			t.Errorf("of %q remains %q, not %q", tt.text, got, tt.want)
		}
	}
}
