package agentpb

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func anyToken(t *rapid.T) Token {
	var tok Token
	copy(tok.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	copy(tok.Secret[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "secret"))
	copy(tok.Pin[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "pin"))
	return tok
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyToken(t)
		got, err := ParseToken(" " + want.String() + "\n")
		if err != nil || got != want {
			t.Fatalf("ParseToken(String()) = %v, %v", got, err)
		}
	})
}

func TestTokenSlipIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(anyToken(t).String())
		at := rapid.IntRange(len(TokenPrefix), len(text)-1).Draw(t, "at")
		was := text[at]
		text[at] = "ABCabc019-_"[rapid.IntRange(0, 10).Draw(t, "slip")]
		_, err := ParseToken(string(text))
		if text[at] != was && (err == nil || !strings.Contains(err.Error(), "mistyped")) {
			t.Fatalf("a slip at %d gave %v", at, err)
		}
	})
}

func TestTokenHidesItsSecretInLogs(t *testing.T) {
	tok := Token{Secret: [16]byte([]byte("sixteen letters!"))}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("joining", "token", tok)
	for _, text := range []string{log.String(), fmt.Sprintf("%#v", tok)} {
		if !strings.Contains(text, "token 00000000") || strings.Contains(text, "sixteen") || strings.Contains(text, tok.String()) {
			t.Errorf("%q does not name the token alone", text)
		}
	}
}

func TestParseTokenErrorsDoNotRepeatTheText(t *testing.T) {
	for _, text := range []string{"", "hunter2", TokenPrefix, TokenPrefix + "hunter2", TokenPrefix + "hunter2=="} {
		_, err := ParseToken(text)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseToken(%q): %v", text, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(Token{}.String())
	f.Add(TokenPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		if tok, err := ParseToken(text); err == nil && tok.String() != strings.TrimSpace(text) {
			t.Errorf("%q reads as %q", text, tok.String())
		}
	})
}

func TestHostURI(t *testing.T) {
	cert := &x509.Certificate{URIs: []*url.URL{HostURI("01ARZ3NDEK")}}
	if id, err := HostID(cert); err != nil || id != "01ARZ3NDEK" {
		t.Errorf("HostID = %q, %v", id, err)
	}
	for _, bad := range []string{"https://host/x", "wacht://host/", "wacht://host/a/b", "wacht://host/a?b"} {
		u, _ := url.Parse(bad)
		if id, err := HostID(&x509.Certificate{URIs: []*url.URL{u}}); err == nil {
			t.Errorf("HostID(%s) = %q", bad, id)
		}
	}
	if _, err := HostID(&x509.Certificate{}); err == nil {
		t.Error("a certificate without URI names a host")
	}
}
