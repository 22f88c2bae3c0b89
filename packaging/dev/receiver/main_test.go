package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReceiverPrintsOnlyWhatIsSigned(t *testing.T) {
	const body = `{"event":"opened","incident":{"number":"INC-1","priority":"P2","title":"/ is full","host_name":"web1","customer":"acme"}}`
	sign := func(secret string, at time.Time) string {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
		return fmt.Sprintf("t=%d,v1=%x", at.Unix(), mac.Sum(nil))
	}
	for name, tc := range map[string]struct {
		signature string
		code      int
	}{
		"signed":         {sign("secret", time.Now()), http.StatusNoContent},
		"another secret": {sign("other", time.Now()), http.StatusForbidden},
		"old":            {sign("secret", time.Now().Add(-time.Hour)), http.StatusForbidden},
		"none":           {"", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Wacht-Signature", tc.signature)
			w := httptest.NewRecorder()
			(&receiver{secret: []byte("secret"), out: &out}).ServeHTTP(w, r)
			if w.Code != tc.code {
				t.Fatalf("answered %d: %s", w.Code, w.Body)
			}
			if printed := strings.Contains(out.String(), "opened INC-1 [P2] / is full on web1 (acme)"); printed != (tc.code == http.StatusNoContent) {
				t.Fatalf("printed %q", out.String())
			}
		})
	}
}
