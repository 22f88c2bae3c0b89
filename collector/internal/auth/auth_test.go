package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

const (
	goodPassword = "correct horse battery"
	remote       = "192.0.2.7"
)

var operator = Principal{Name: "root", Role: Admin, Via: ViaCommand}

// cheap makes hashing quick: what is tested is not argon2.
var cheap = &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

func open(t *testing.T) (*Auth, store.Store) {
	t.Helper()
	s := memstore.New()
	a, err := New(s, Unclaimed{s}, Options{Hashing: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return a, s
}

func addUser(t *testing.T, a *Auth, name string, role Role, customer string) {
	t.Helper()
	_, err := a.AddUser(t.Context(), operator, NewUser{Name: name, Role: role, Customer: customer, Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
}

// signIn returns the cookie of a new session.
func signIn(t *testing.T, a *Auth, name string) *http.Cookie {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/sign-in", nil)
	r.RemoteAddr = remote + ":5000"
	w := httptest.NewRecorder()
	if _, err := a.SignIn(w, r, name, goodPassword); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()[0]
}

// whoami answers with the principal as the middleware found it.
func whoami(w http.ResponseWriter, r *http.Request) {
	p, ok := From(r.Context())
	if !ok {
		p.Name = "nobody"
	}
	_ = json.NewEncoder(w).Encode(p)
}

type request struct {
	method, host, remote string
	header               map[string]string
	cookie               *http.Cookie
}

func (q request) through(t *testing.T, h http.Handler) (int, Principal) {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	r := httptest.NewRequestWithContext(t.Context(), q.method, "/", nil)
	r.RemoteAddr = "192.0.2.7:5000"
	if q.remote != "" {
		r.RemoteAddr = q.remote
	}
	if q.host != "" {
		r.Host = q.host
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	if q.cookie != nil {
		r.AddCookie(q.cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p Principal
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
	} else if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("status %d with content type %q", w.Code, ct)
	}
	return w.Code, p
}

func TestAddUserRefuses(t *testing.T) {
	a, _ := open(t)
	addUser(t, a, "anna", Admin, "")
	for _, c := range []struct {
		name string
		user NewUser
		want string
	}{
		{"taken name", NewUser{Name: "Anna", Role: Admin, Password: goodPassword}, "adding account anna: there is one already"},
		{"strange name", NewUser{Name: "an:na", Role: Admin, Password: goodPassword}, `"an:na" can't be a name`},
		{"no name", NewUser{Role: Admin, Password: goodPassword}, `"" can't be a name`},
		{"unknown role", NewUser{Name: "bert", Role: "boss", Password: goodPassword}, `"boss" is not a role: use admin or engineer`},
		{"short password", NewUser{Name: "bert", Role: Admin, Password: "hunter2"}, "the password has 7 characters: use at least 12"},
		{"long password", NewUser{Name: "bert", Role: Admin, Password: strings.Repeat("abcdef", 200)}, "use at most 1024"},
		{"one character", NewUser{Name: "bert", Role: Admin, Password: "aaaaaaaaaaaaaa"}, "only 1 different"},
		{"own name", NewUser{Name: "bert.de.vries", Role: Admin, Password: "Bert.de.Vries1"}, "account's name with little more"},
		{"not text", NewUser{Name: "bert", Role: Admin, Password: "\xff\xfeabcdefghijkl"}, "not valid UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := a.AddUser(t.Context(), operator, c.user)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	a, s := open(t)
	addUser(t, a, "anna", Engineer, "demo")
	p, err := a.Verify(t.Context(), " Anna ", goodPassword, remote)
	if want := (Principal{Name: "anna", Role: Engineer, Customer: "demo", Via: ViaSession, Address: remote}); err != nil || p != want {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
	for _, c := range [][2]string{{"anna", "wrong password"}, {"bert", goodPassword}, {"", ""}, {"anna", strings.Repeat("x", 5000)}} {
		if _, err := a.Verify(t.Context(), c[0], c[1], remote); !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: got error %v, want ErrCredentials", c[0], err)
		}
	}
	for row, err := range s.Scan(t.Context(), users.Table, "", store.Range{}) {
		if err != nil || strings.Contains(string(row.Value), goodPassword) || !strings.Contains(string(row.Value), "$argon2id$") {
			t.Errorf("account is kept as %s, %v", row.Value, err)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := open(t)
		addUser(t, a, "anna", Engineer, "")
		var late *TooManyError
		for i := range accountBurst + 1 {
			_, err := a.Verify(t.Context(), "anna", "a wrong password", remote)
			if got, want := errors.As(err, &late), i == accountBurst; got != want {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
		}
		// The right password does not help before the time is over, and does from elsewhere.
		if _, err := a.Verify(t.Context(), "anna", goodPassword, remote); !errors.As(err, &late) {
			t.Errorf("too soon: %v", err)
		}
		if _, err := a.Verify(t.Context(), "anna", goodPassword, "198.51.100.1"); err != nil {
			t.Errorf("from another address: %v", err)
		}
		time.Sleep(late.RetryAfter)
		if _, err := a.Verify(t.Context(), "anna", goodPassword, remote); err != nil {
			t.Errorf("after %s: %v", late.RetryAfter, err)
		}
	})
}

func TestPaceBoundsAddressesAndMemory(t *testing.T) {
	p, at := newPace(), time.Unix(1e9, 0)
	refused := 0
	for i := range addressBurst * 2 {
		// One IPv6 network is one address, however many of its addresses are used.
		if p.attempt(at, string(rune('a'+i)), "2001:db8::"+string("123456789"[i%9])) != nil {
			refused++
		}
	}
	if refused != addressBurst {
		t.Errorf("%d of %d attempts on as many accounts were refused, want %d", refused, addressBurst*2, addressBurst)
	}
	for i := range 5 * paceKeys {
		_ = p.attempt(at, "anna", string(rune(i)))
	}
	if n := len(p.now) + len(p.old); n > 2*paceKeys+2 {
		t.Errorf("%d keys are kept", n)
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := open(t)
		text, token, err := a.AddToken(t.Context(), operator, NewToken{Name: "grafana", Role: Engineer, Customer: "demo", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(text, "wacht_api_"+token.ID+"_") {
			t.Errorf("token %q of id %s", text, token.ID)
		}
		for row := range s.Scan(t.Context(), tokens.Table, "", store.Range{}) {
			if strings.Contains(string(row.Value), text[len(text)-20:]) {
				t.Error("the secret is in the store")
			}
		}
		h := a.Middleware(http.HandlerFunc(whoami))
		ask := func(header string) (int, Principal) {
			return request{header: map[string]string{"Authorization": header}}.through(t, h)
		}
		if code, p := ask("Bearer " + text); code != http.StatusOK || p.Name != "api:grafana" || p.Customer != "demo" {
			t.Errorf("got %d, %+v", code, p)
		}
		for _, wrong := range []string{"Bearer " + text + "x", "Bearer wacht_api_" + token.ID, "Bearer wacht_api_unknown_x", "Bearer ", "Basic YTpi", "Bearer wacht_api_\x00_x"} {
			if code, _ := ask(wrong); code != http.StatusUnauthorized {
				t.Errorf("%q got %d", wrong, code)
			}
		}
		time.Sleep(time.Hour)
		if code, _ := ask("Bearer " + text); code != http.StatusUnauthorized {
			t.Errorf("expired token got %d", code)
		}
	})
}

func TestTokenRevoked(t *testing.T) {
	a, _ := open(t)
	text, token, err := a.AddToken(t.Context(), operator, NewToken{Role: Admin})
	if err != nil {
		t.Fatal(err)
	}
	q := request{header: map[string]string{"Authorization": "Bearer " + text}}
	h := a.Middleware(http.HandlerFunc(whoami))
	if code, p := q.through(t, h); code != http.StatusOK || p.Role != Admin {
		t.Errorf("got %d, %+v", code, p)
	}
	if err := a.RevokeToken(t.Context(), operator, token.ID); err != nil {
		t.Fatal(err)
	}
	if code, _ := q.through(t, h); code != http.StatusUnauthorized {
		t.Errorf("revoked token got %d", code)
	}
	if err := a.RevokeToken(t.Context(), operator, "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown token: %v", err)
	}
}

func TestLogTellsWhoDidWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := open(t)
		addUser(t, a, "anna", Engineer, "demo")
		time.Sleep(time.Second)
		_, _ = a.Verify(t.Context(), "secretpassword", "typed-too-early", remote)
		time.Sleep(time.Second)
		signIn(t, a, "anna")
		time.Sleep(time.Second)
		if err := a.Record(t.Context(), Principal{Name: "anna", Via: ViaSession, Address: remote}, "host.revoke", "h1", "demo", "lost"); err != nil {
			t.Fatal(err)
		}
		log, err := a.Log(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range log {
			got = append(got, strings.Join([]string{e.By, e.Via, e.Action, e.Subject, e.Customer, e.Address, e.Text}, "|"))
		}
		want := []string{
			"anna|session|host.revoke|h1|demo|192.0.2.7|lost",
			"anna|session|session.begin|anna|demo|192.0.2.7|",
			"?|session|session.refused|?||192.0.2.7|",
			"root|command|user.add|anna|demo||role engineer",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func FuzzBearer(f *testing.F) {
	s := memstore.New()
	a, err := New(s, Unclaimed{s}, Options{Hashing: cheap})
	if err != nil {
		f.Fatal(err)
	}
	text, _, err := a.AddToken(f.Context(), operator, NewToken{Role: Engineer})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text[:len(text)-1])
	f.Add("wacht_api__")
	f.Add(url.QueryEscape(text))
	f.Fuzz(func(t *testing.T, guess string) {
		if p, err := a.bearer(t.Context(), guess, remote); guess != text && (err == nil || p.Name != "") {
			t.Errorf("%q is let in as %+v", guess, p)
		}
	})
}
