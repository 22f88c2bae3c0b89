package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Session is a browser that signed in, as it is stored: under the digest of the
// secret in its cookie.
type Session struct {
	User      string    `json:"user"`
	CreatedAt time.Time `json:"created_at"`
	// SeenAt is the last use, to within a minute.
	SeenAt  time.Time `json:"seen_at"`
	Address string    `json:"address"`
	// Agent is what the browser calls itself.
	Agent string `json:"agent,omitempty"`
	// PasswordAt is the age of the password that began it; another one ends it.
	PasswordAt time.Time `json:"password_at"`
}

// SessionView is a session with the id by which it can be ended.
type SessionView struct {
	ID string
	Session
}

// Cookie is the name of a session's cookie. Browsers take one of that name only with
// Secure, for this host alone and for all paths; they treat http://localhost and
// http://127.0.0.1 as secure, so that it works without a certificate there.
const Cookie = "__Host-wacht-session"

// PollHeader marks a request that a page makes by itself. It does not count as use.
const PollHeader = "Wacht-Poll"

const (
	seenEvery = time.Minute
	maxAgent  = 200
)

var sessions = store.Typed[Session]{Table: &store.Table{Name: "auth_sessions"}}

var errNoSession = errors.New("the session has ended")

// SignIn begins a session for a name and password, and sets its cookie. The errors
// are those of Verify.
func (a *Auth) SignIn(w http.ResponseWriter, r *http.Request, name, password string) (Principal, error) {
	ctx := r.Context()
	u, err := a.verify(ctx, name, password, Address(r))
	if err != nil {
		return Principal{}, err
	}
	now := time.Now().UTC()
	secret := rand.Text() + rand.Text() // 260 bits
	p := u.principal(Address(r))
	p.Session = digest(secret)
	s := Session{
		User: p.Name, CreatedAt: now, SeenAt: now, Address: p.Address,
		Agent: clip(r.UserAgent(), maxAgent), PasswordAt: u.PasswordAt,
	}
	put, err := sessions.Put("", p.Session, s)
	if err != nil {
		return Principal{}, err
	}
	// What is over is cleared away by whoever signs in next.
	ends, err := a.endings(ctx, func(s Session) bool { return a.over(s, now) })
	if err != nil {
		return Principal{}, err
	}
	if err := a.record(ctx, p.entry("session.begin", p.Name), append(ends, put)...); err != nil {
		return Principal{}, err
	}
	setCookie(w, secret, int(a.options.Absolute/time.Second))
	return p, nil
}

// SignOut ends the request's session and takes its cookie back.
func (a *Auth) SignOut(w http.ResponseWriter, r *http.Request) error {
	setCookie(w, "", -1)
	p, ok := From(r.Context())
	if !ok || p.Session == "" {
		return nil
	}
	return a.EndSession(r.Context(), p, p.Session)
}

// EndSession ends one session of an account at once.
func (a *Auth) EndSession(ctx context.Context, by Principal, id string) error {
	a.changes.Lock()
	defer a.changes.Unlock()
	s, err := sessions.Get(ctx, a.reader, "", id)
	if err != nil {
		return fmt.Errorf("reading a session: %w", err)
	}
	return a.record(ctx, by.entry("session.end", s.User), sessions.Delete("", id))
}

// EndSessions ends all sessions of an account at once.
func (a *Auth) EndSessions(ctx context.Context, by Principal, user string) error {
	a.changes.Lock()
	defer a.changes.Unlock()
	ends, err := a.endings(ctx, func(s Session) bool { return s.User == user })
	if err != nil {
		return err
	}
	return a.record(ctx, by.entry("session.end-all", user), ends...)
}

// Sessions lists the sessions of an account that are not over.
func (a *Auth) Sessions(ctx context.Context, user string) ([]SessionView, error) {
	var out []SessionView
	now := time.Now()
	for row, err := range sessions.Scan(ctx, a.reader, "", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("reading sessions: %w", err)
		}
		if row.Value.User == user && !a.over(row.Value, now) {
			out = append(out, SessionView{ID: row.Key, Session: row.Value})
		}
	}
	return out, nil
}

// endings are the writes that end the sessions that which selects.
func (a *Auth) endings(ctx context.Context, which func(Session) bool) ([]store.Write, error) {
	var out []store.Write
	for row, err := range sessions.Scan(ctx, a.reader, "", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("reading sessions: %w", err)
		}
		if which(row.Value) {
			out = append(out, sessions.Delete("", row.Key))
		}
	}
	return out, nil
}

func (a *Auth) over(s Session, now time.Time) bool {
	return now.Sub(s.SeenAt) >= a.options.Idle || now.Sub(s.CreatedAt) >= a.options.Absolute
}

// session says whose cookie it is. Session and account are read each time, so that
// what was ended or changed is so at once.
func (a *Auth) session(r *http.Request, secret string) (Principal, error) {
	ctx, id, now := r.Context(), digest(secret), time.Now().UTC()
	s, err := sessions.Get(ctx, a.reader, "", id)
	if err != nil {
		return Principal{}, notThere(err, "session")
	}
	if a.over(s, now) {
		return Principal{}, errNoSession
	}
	u, err := users.Get(ctx, a.reader, "", s.User)
	if err != nil {
		return Principal{}, notThere(err, "account")
	}
	if !s.PasswordAt.Equal(u.PasswordAt) {
		return Principal{}, errNoSession
	}
	if now.Sub(s.SeenAt) >= seenEvery && r.Header.Get(PollHeader) == "" {
		a.seen(ctx, id, now)
	}
	p := u.principal(Address(r))
	p.Session = id
	return p, nil
}

func notThere(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return errNoSession
	}
	return fmt.Errorf("reading the %s: %w", what, err)
}

// seen notes that a session is used. A session that was ended meanwhile stays ended:
// the next request finds it over or not there.
func (a *Auth) seen(ctx context.Context, id string, now time.Time) {
	a.changes.Lock()
	defer a.changes.Unlock()
	s, err := sessions.Get(ctx, a.reader, "", id)
	if err != nil {
		return
	}
	s.SeenAt = now
	w, err := sessions.Put("", id, s)
	if err == nil {
		err = a.commit.Commit(ctx, []store.Write{w})
	}
	if err != nil {
		a.logger.Warn("The use of a session can't be noted", "user", s.User, "error", err)
	}
}

// setCookie is Lax, not Strict: a link in a mail about an incident must find its
// reader signed in. GET changes nothing, and other methods are kept to this origin.
func setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: Cookie, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
