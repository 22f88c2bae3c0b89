package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/wacht-io/wacht/collector/internal/auth"
)

type signInData struct {
	Name, Next string
	// Error is what was wrong with the attempt before.
	Error string
}

func (s *site) signInPage(v *visit) error {
	next := local(v.r.URL.Query().Get("next"))
	if v.who.Name != "" {
		return v.redirect(next)
	}
	return s.showSignIn(v, http.StatusOK, signInData{Next: next})
}

func (s *site) showSignIn(v *visit, status int, d signInData) error {
	return s.render(v, status, "signin", "", v.lang.text("signin.title"), d)
}

func (s *site) signIn(v *visit) error {
	d := signInData{Name: v.r.PostFormValue("name"), Next: local(v.r.PostFormValue("next"))}
	if insecure(v.r) {
		d.Error = v.lang.text("signin.insecure")
		return s.showSignIn(v, http.StatusForbidden, d)
	}
	_, err := s.Auth.SignIn(v.w, v.r, d.Name, v.r.PostFormValue("password"))
	if late, ok := errors.AsType[*auth.TooManyError](err); ok {
		v.w.Header().Set("Retry-After", strconv.Itoa(late.Seconds()))
		d.Error = v.lang.text("signin.wait", late.Seconds())
		return s.showSignIn(v, http.StatusTooManyRequests, d)
	}
	if errors.Is(err, auth.ErrCredentials) {
		d.Error = v.lang.text("signin.wrong")
		return s.showSignIn(v, http.StatusUnauthorized, d)
	}
	if err != nil {
		return err
	}
	return v.redirect(d.Next)
}

// insecure reports whether the browser shows the page over plain HTTP from another
// machine. It would drop the session's cookie, and the password has just crossed the
// network: better to say so than to ask again and again.
func insecure(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Scheme == "http" && !auth.LocalName(origin.Host)
}

func (s *site) signOut(v *visit) error {
	if err := s.Auth.SignOut(v.w, v.r); err != nil {
		return err
	}
	return v.redirect("/sign-in")
}

func (s *site) account(v *visit) error {
	sessions, err := s.Auth.Sessions(v.r.Context(), v.who.Name)
	if err != nil {
		return err
	}
	return s.render(v, http.StatusOK, "account", "account", v.lang.text("account.title"), sessions)
}

// endSession ends one of one's own sessions; nobody else's is there.
func (s *site) endSession(v *visit) error {
	sessions, err := s.Auth.Sessions(v.r.Context(), v.who.Name)
	if err != nil {
		return err
	}
	for _, one := range sessions {
		if one.ID != v.r.PathValue("id") {
			continue
		}
		if err := s.Auth.EndSession(v.r.Context(), v.who, one.ID); err != nil {
			return err
		}
	}
	return v.redirect("/account")
}

func (s *site) endSessions(v *visit) error {
	if err := s.Auth.EndSessions(v.r.Context(), v.who, v.who.Name); err != nil {
		return err
	}
	return v.redirect("/sign-in")
}

// auditLines is how much of the log a page shows.
const auditLines = 200

// audit shows the log to admins of the whole MSP.
func (s *site) audit(v *visit) error {
	if v.who.Role != auth.Admin || v.who.Customer != "" {
		s.failPage(v, http.StatusForbidden, "")
		return nil
	}
	lines, err := s.Auth.Log(v.r.Context(), auditLines)
	if err != nil {
		return err
	}
	return s.render(v, http.StatusOK, "audit", "account", v.lang.text("audit.title"), lines)
}
