package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/api/fault"
)

type principalKey struct{}

// From says who makes the request that ctx belongs to.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// With returns a context in which p makes the request: for handlers behind another
// way in, such as the local socket.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// Middleware finds out who makes a request, by its bearer token or session, for
// From to say; a request without either passes as nobody's. A wrong token is refused,
// and so is what another site's page sends with our cookie.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.identify(r)
		switch {
		case errors.Is(err, errToken):
			challenge(w, err.Error())
		case errors.Is(err, errOrigin):
			fault.Write(w, http.StatusForbidden, err.Error())
		case errors.Is(err, errNoSession):
			next.ServeHTTP(w, r)
		case err != nil:
			a.logger.Error("Nobody can be let in", "error", err)
			fault.Write(w, http.StatusInternalServerError, "the collector can't read its accounts: its log says why")
		default:
			next.ServeHTTP(w, r.WithContext(With(r.Context(), p)))
		}
	})
}

var errOrigin = errors.New("the request came from a page of another site: open the collector's own page and try again; behind a proxy, add its address to the trusted origins")

func (a *Auth) identify(r *http.Request) (Principal, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Principal{}, errToken
		}
		return a.bearer(r.Context(), strings.TrimSpace(token), Address(r))
	}
	if err := a.origins.Check(r); err != nil {
		return Principal{}, errOrigin
	}
	cookie, err := r.Cookie(Cookie)
	if err != nil {
		return Principal{}, errNoSession
	}
	return a.session(r, cookie.Value)
}

// Require passes requests of somebody known and refuses others with 401. It stands
// behind Middleware.
func (a *Auth) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := From(r.Context()); !ok {
			challenge(w, "sign in, or send an API token: Authorization: Bearer "+TokenPrefix+"…")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireAdmin passes requests of admins and refuses others.
func (a *Auth) RequireAdmin(next http.Handler) http.Handler {
	return a.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, _ := From(r.Context()); p.Role != Admin {
			fault.Write(w, http.StatusForbidden, "only an admin may do this: ask one, or use an admin's token")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// RequireUnlessLocal passes requests of somebody known, and those of programs on the
// collector's own machine, such as a Prometheus that reads /metrics.
func (a *Auth) RequireUnlessLocal(next http.Handler) http.Handler {
	known := a.Require(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local(r) {
			next.ServeHTTP(w, r)
			return
		}
		known.ServeHTTP(w, r)
	})
}

// local reports whether a request came from this machine for this machine. One that a
// proxy here passes on says so in a header, or names another host; a page that made a
// name point here (DNS rebinding) names another host too.
func local(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	return loopback(Address(r)) && LocalName(r.Host)
}

// LocalName reports whether a Host header or an origin's host names the machine
// itself: localhost or a loopback address, with or without a port.
func LocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	return strings.EqualFold(host, "localhost") || loopback(host)
}

func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Unmap().IsLoopback()
}

// Address is where a request came from. Behind a proxy it is the proxy's address:
// what a header claims is nobody's proof.
func Address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func challenge(w http.ResponseWriter, detail string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="wacht"`)
	fault.Write(w, http.StatusUnauthorized, detail)
}
