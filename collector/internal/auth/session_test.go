package auth

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := open(t)
		addUser(t, a, "anna", Engineer, "demo")
		c := signIn(t, a, "anna")
		if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %s", c)
		}
		for row := range s.Scan(t.Context(), sessions.Table, "", store.Range{}) {
			if strings.Contains(row.Key+string(row.Value), c.Value) {
				t.Error("the cookie's value is in the store")
			}
		}
		h := a.Middleware(http.HandlerFunc(whoami))
		code, p := request{cookie: c}.through(t, h)
		if code != http.StatusOK || p.Name != "anna" || p.Customer != "demo" || p.Via != ViaSession {
			t.Errorf("got %d, %+v", code, p)
		}
		if _, p := (request{cookie: &http.Cookie{Name: Cookie, Value: "guess"}}).through(t, h); p.Name != "nobody" {
			t.Errorf("a guess is %+v", p)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	used := func(time.Duration) map[string]string { return nil }
	polled := func(time.Duration) map[string]string { return map[string]string{PollHeader: "1"} }
	for _, c := range []struct {
		name   string
		header func(time.Duration) map[string]string
		after  time.Duration
	}{
		{"used until it is too old", used, DefaultAbsolute},
		{"only polled", polled, DefaultIdle},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := open(t)
				addUser(t, a, "anna", Engineer, "")
				h, cookie := a.Middleware(http.HandlerFunc(whoami)), signIn(t, a, "anna")
				begun := time.Now()
				for {
					time.Sleep(10 * time.Minute)
					_, p := request{cookie: cookie, header: c.header(time.Since(begun))}.through(t, h)
					if p.Name == "anna" {
						continue
					}
					if got := time.Since(begun); got != c.after {
						t.Errorf("ended after %s, want %s", got, c.after)
					}
					return
				}
			})
		})
	}
}

func TestSessionsEndAtOnce(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Auth, Principal) error{
		"one": func(t *testing.T, a *Auth, p Principal) error { return a.EndSession(t.Context(), operator, p.Session) },
		"all": func(t *testing.T, a *Auth, _ Principal) error { return a.EndSessions(t.Context(), operator, "anna") },
		"new password": func(t *testing.T, a *Auth, _ Principal) error {
			return a.SetPassword(t.Context(), operator, "anna", "another long password")
		},
		"no account": func(t *testing.T, a *Auth, _ Principal) error { return a.RemoveUser(t.Context(), operator, "anna") },
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := open(t)
			addUser(t, a, "anna", Engineer, "")
			h, c := a.Middleware(http.HandlerFunc(whoami)), signIn(t, a, "anna")
			_, p := request{cookie: c}.through(t, h)
			if err := end(t, a, p); err != nil {
				t.Fatal(err)
			}
			if _, p := (request{cookie: c}).through(t, h); p.Name != "nobody" {
				t.Errorf("still %+v", p)
			}
			if left, err := a.Sessions(t.Context(), "anna"); err != nil || len(left) != 0 {
				t.Errorf("sessions left: %v, %v", left, err)
			}
		})
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	a, _ := open(t)
	addUser(t, a, "anna", Engineer, "")
	c, h := signIn(t, a, "anna"), a.Middleware(http.HandlerFunc(whoami))
	for _, q := range []struct {
		request
		want int
	}{
		{request{method: "POST", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, http.StatusForbidden},
		{request{method: "POST", header: map[string]string{"Origin": "https://evil.example.com"}}, http.StatusForbidden},
		{request{method: "POST", header: map[string]string{"Sec-Fetch-Site": "same-origin"}}, http.StatusOK},
		{request{method: "GET", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, http.StatusOK},
	} {
		q.cookie = c
		if got, _ := q.through(t, h); got != q.want {
			t.Errorf("%s with %v got %d, want %d", q.method, q.header, got, q.want)
		}
	}
}

func TestRequirements(t *testing.T) {
	a, _ := open(t)
	addUser(t, a, "anna", Engineer, "")
	addUser(t, a, "bert", Admin, "")
	who := http.HandlerFunc(whoami)
	anna, bert := signIn(t, a, "anna"), signIn(t, a, "bert")
	known, admin, local := a.Middleware(a.Require(who)), a.Middleware(a.RequireAdmin(who)), a.Middleware(a.RequireUnlessLocal(who))
	here := request{remote: "127.0.0.1:99", host: "localhost:7420"}
	rebound, proxied := here, here
	rebound.host = "evil.example.com"
	proxied.header = map[string]string{"X-Forwarded-For": "192.0.2.9"}
	for _, c := range []struct {
		name string
		h    http.Handler
		q    request
		want int
	}{
		{"known nobody", known, request{}, 401},
		{"known engineer", known, request{cookie: anna}, 200},
		{"admin nobody", admin, request{}, 401},
		{"admin engineer", admin, request{cookie: anna}, 403},
		{"admin admin", admin, request{cookie: bert}, 200},
		{"local here", local, here, 200},
		{"local here, IPv6", local, request{remote: "[::1]:99", host: "[::1]:7420"}, 200},
		{"local elsewhere", local, request{host: "localhost"}, 401},
		{"local rebound name", local, rebound, 401},
		{"local behind a proxy", local, proxied, 401},
		{"local engineer", local, request{cookie: anna}, 200},
	} {
		if got, _ := c.q.through(t, c.h); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSignOut(t *testing.T) {
	a, _ := open(t)
	addUser(t, a, "anna", Engineer, "")
	c := signIn(t, a, "anna")
	out := a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.SignOut(w, r); err != nil {
			t.Error(err)
		}
		whoami(w, r)
	}))
	if code, _ := (request{method: "POST", cookie: c}).through(t, out); code != http.StatusOK {
		t.Errorf("got %d", code)
	}
	if _, p := (request{cookie: c}).through(t, a.Middleware(http.HandlerFunc(whoami))); p.Name != "nobody" {
		t.Errorf("still %+v", p)
	}
}

func TestTrustedOrigins(t *testing.T) {
	s := memstore.New()
	if _, err := New(s, Unclaimed{s}, Options{TrustedOrigins: []string{"wacht.example.com"}}); err == nil || !strings.Contains(err.Error(), "https://wacht.example.com") {
		t.Errorf("got error %v", err)
	}
	a, err := New(s, Unclaimed{s}, Options{Hashing: cheap, TrustedOrigins: []string{"https://wacht.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	q := request{method: "POST", header: map[string]string{"Origin": "https://wacht.example.com", "Sec-Fetch-Site": "cross-site"}}
	if code, _ := q.through(t, a.Middleware(http.HandlerFunc(whoami))); code != http.StatusOK {
		t.Errorf("got %d", code)
	}
}

func TestLocalName(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:7420": true, "127.0.0.1:7420": true, "[::1]:7420": true, "::1": true,
		"localhost.example.com": false, "192.0.2.1": false, "": false, "wacht.example.com:7420": false,
	} {
		if got := LocalName(host); got != want {
			t.Errorf("LocalName(%q) = %v", host, got)
		}
	}
}
