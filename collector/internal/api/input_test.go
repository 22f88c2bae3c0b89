package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever is sent is read whole or refused with what to do, never half.
func FuzzDecode(f *testing.F) {
	f.Add(`{"title":"x","impact":"high"}`)
	f.Add(`{"title":"x"} {}`)
	f.Add(`{"titel":"\u0000"}`)
	f.Add(`[[[[`)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		var rep Report
		err := decode(r, &rep)
		if fault, ok := errors.AsType[*failure](err); err != nil && (!ok || fault.detail == "" || fault.status < 400 || fault.status > 499) {
			t.Errorf("%q is refused with %v", body, err)
		}
	})
}
