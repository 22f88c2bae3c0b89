// Package auth knows who may use the collector: local accounts with a password,
// sessions of browsers, tokens of programs, and a log of who did what.
//
// Passwords are kept as argon2id hashes; sessions and tokens, which are random and
// long, as SHA-256 digests. A copy of the store lets nobody in.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Role is what a person or program may do.
type Role string

// An Engineer reads and works on incidents; an Admin also revokes hosts and manages
// accounts and tokens.
const (
	Admin    Role = "admin"
	Engineer Role = "engineer"
)

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	switch r := Role(name); r {
	case Admin, Engineer:
		return r, nil
	}
	return "", fmt.Errorf("%q is not a role: use %s or %s", name, Admin, Engineer)
}

// How a principal proved who it is.
const (
	ViaSession = "session"
	ViaToken   = "token"
	// ViaCommand is for what was done on the collector's own machine.
	ViaCommand = "command"
)

// Principal is who makes a request.
type Principal struct {
	// Name is an account's name, or api: and a token's name; no account has a colon.
	Name string
	Role Role
	// Customer is the only customer that the principal sees; empty for all.
	Customer string
	// Via is ViaSession, ViaToken or ViaCommand.
	Via string
	// Session is the id of the session, where there is one.
	Session string
	// Address is where the request came from.
	Address string
}

// Committer writes rows, all or none, and returns when they are durable. The
// collector's engine is one; Unclaimed makes one of a store.
type Committer interface {
	Commit(ctx context.Context, writes []store.Write) error
}

// Unclaimed commits to a store that no collector is running on.
type Unclaimed struct{ Store store.Store }

// Commit writes without a claim.
func (u Unclaimed) Commit(ctx context.Context, writes []store.Write) error {
	return u.Store.Commit(ctx, nil, writes)
}

// Defaults of Options.
const (
	// DefaultIdle is a working day: pages that refresh themselves do not count as use.
	DefaultIdle = 8 * time.Hour
	// DefaultAbsolute ends a session however much it is used.
	DefaultAbsolute = 24 * time.Hour
)

// Options of an Auth; a zero value means the default.
type Options struct {
	// Idle and Absolute end sessions: since the last use, and since signing in.
	Idle, Absolute time.Duration
	// Hashing is what a password costs to try. The default is what OWASP's password
	// storage cheat sheet asks for at least: 19 MiB, 2 passes, 1 thread.
	Hashing *argon2id.Params
	// TrustedOrigins may send forms and requests with a session's cookie besides the
	// collector's own address: "https://wacht.example.com", say, when a proxy changes
	// the Host header.
	TrustedOrigins []string
	Logger         *slog.Logger
}

// Auth checks who makes a request. It is safe for concurrent use.
type Auth struct {
	reader  store.Reader
	commit  Committer
	options Options
	logger  *slog.Logger
	origins *http.CrossOriginProtection
	pace    *pace
	lines   *lineNumbers
	// hashing bounds how many passwords are tried at once, and so the memory for it.
	hashing chan struct{}
	// decoy is compared with when there is no such account.
	decoy func() string
	// changes serialises reading and writing of one account or token.
	changes sync.Mutex
}

// concurrentHashes times 19 MiB is what guessing at passwords can make us use.
const concurrentHashes = 4

// New returns an Auth on the rows of a store.
func New(r store.Reader, c Committer, o Options) (*Auth, error) {
	if o.Idle <= 0 {
		o.Idle = DefaultIdle
	}
	if o.Absolute <= 0 {
		o.Absolute = DefaultAbsolute
	}
	if o.Hashing == nil {
		o.Hashing = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	origins := http.NewCrossOriginProtection()
	for _, origin := range o.TrustedOrigins {
		if err := origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("trusting origin %q: %w; write it as https://wacht.example.com", origin, err)
		}
	}
	return &Auth{
		reader: r, commit: c, options: o, logger: o.Logger, origins: origins, pace: newPace(), lines: newLineNumbers(),
		hashing: make(chan struct{}, concurrentHashes),
		decoy:   sync.OnceValue(func() string { return decoyHash(o.Hashing) }),
	}, nil
}

// decoyHash is what the password of an account that does not exist is compared with.
func decoyHash(p *argon2id.Params) string {
	hash, err := argon2id.CreateHash("the password of nobody", p)
	if err != nil {
		panic(err) // the system's randomness failed, which crypto/rand makes fatal
	}
	return hash
}

var (
	// ErrCredentials says that name and password do not belong together; it never says
	// which of the two is wrong.
	ErrCredentials = errors.New("the name or the password is wrong")
	// ErrExists says that the name is taken.
	ErrExists = errors.New("there is one already")
)

// namePattern leaves no room for control characters, or for the colon of a token.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

func checkName(name string) (string, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("%q can't be a name: use 1 to 64 letters, digits, dots, hyphens, underscores or @, starting with a letter or digit", name)
	}
	return name, nil
}

// checkScope looks at the customer that an account or token is limited to.
func checkScope(customer string) error {
	if len(customer) > store.MaxCustomerBytes || strings.ContainsRune(customer, 0) {
		return fmt.Errorf("%q can't be a customer: it is longer than %d bytes or has a zero byte", customer, store.MaxCustomerBytes)
	}
	return nil
}
