// Package joining keeps the tokens with which machines join: who they are for, how
// often and how long they work, and a hash of their secret, never the secret.
package joining

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Limits and defaults of a token.
const (
	DefaultTTL  = 10 * time.Minute
	RollOutTTL  = 30 * 24 * time.Hour // the default of one with several uses
	MaxTTL      = 30 * 24 * time.Hour
	DefaultUses = 1
	MaxUses     = 10_000
)

// Token is what is kept of a joining token.
type Token struct {
	ID           string            `json:"id"`
	Customer     string            `json:"customer"`
	Site         string            `json:"site"`
	Labels       map[string]string `json:"labels,omitempty"`
	SecretSHA256 []byte            `json:"secret_sha256"`
	CreatedAt    time.Time         `json:"created_at"`
	ExpiresAt    time.Time         `json:"expires_at"`
	// Uses is how many hosts may join with it. How many did, the hosts themselves say.
	Uses int `json:"uses"`
	// Approval says that a host which joins with it has to be approved by a person.
	Approval bool `json:"approval,omitempty"`
}

var tokens = store.Typed[Token]{Table: &store.Table{Name: "tokens"}}

// Order asks for a token.
type Order struct {
	Customer, Site string
	Labels         map[string]string
	// TTL is DefaultTTL, or RollOutTTL for a token of several uses, unless given.
	TTL  time.Duration
	Uses int
	// NoApproval lets the hosts of a token of several uses in at once. They wait for
	// approval otherwise: such a token lies about for long, and on many machines.
	NoApproval bool
}

var nameRE = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$`)

// ErrOrder says that a token can't be made as asked.
var ErrOrder = errors.New("can't make this token")

func (o *Order) check() error {
	if o.Uses == 0 {
		o.Uses = DefaultUses
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
		if o.Uses > 1 {
			o.TTL = RollOutTTL
		}
	}
	switch {
	case !nameRE.MatchString(o.Customer):
		return fmt.Errorf("%w: customer %q must be 1 to 64 lower case letters, digits, '.', '_' or '-'", ErrOrder, o.Customer)
	case !nameRE.MatchString(o.Site):
		return fmt.Errorf("%w: site %q must be 1 to 64 lower case letters, digits, '.', '_' or '-'", ErrOrder, o.Site)
	case o.TTL < time.Second || o.TTL > MaxTTL:
		return fmt.Errorf("%w: it may live for 1s to %s, not %s", ErrOrder, MaxTTL, o.TTL)
	case o.Uses < 1 || o.Uses > MaxUses:
		return fmt.Errorf("%w: it may have 1 to %d uses, not %d", ErrOrder, MaxUses, o.Uses)
	}
	return nil
}

// New makes a token and the write that keeps it. The text is shown once.
func New(o Order, pin [sha256.Size]byte, now time.Time) (text string, w store.Write, err error) {
	if err := o.check(); err != nil {
		return "", store.Write{}, err
	}
	t := agentpb.Token{Pin: pin}
	_, _ = rand.Read(t.ID[:]) // never fails: crypto/rand ends the program instead
	_, _ = rand.Read(t.Secret[:])
	sum := sha256.Sum256(t.Secret[:])
	id := hex.EncodeToString(t.ID[:])
	w, err = tokens.Put("", id, Token{
		ID: id, Customer: o.Customer, Site: o.Site, Labels: o.Labels, SecretSHA256: sum[:],
		CreatedAt: now, ExpiresAt: now.Add(o.TTL), Uses: o.Uses, Approval: o.Uses > 1 && !o.NoApproval,
	})
	if err != nil {
		return "", store.Write{}, fmt.Errorf("keeping the token: %w", err)
	}
	return t.String(), w, nil
}

// keptExpired is how long an expired token is kept: so long it answers that it has
// expired, rather than that nobody knows it.
const keptExpired = 30 * 24 * time.Hour

// Expired gives the writes that forget the tokens which expired long ago.
func Expired(ctx context.Context, r store.Reader, now time.Time) ([]store.Write, error) {
	var out []store.Write
	for row, err := range tokens.Scan(ctx, r, "", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("looking for expired tokens: %w", err)
		}
		if now.Sub(row.Value.ExpiresAt) > keptExpired {
			out = append(out, tokens.Delete("", row.Key))
		}
	}
	return out, nil
}

// ErrText wraps what is wrong with a token's text itself.
var ErrText = errors.New("the token can't be read")

// Why a token is not accepted. The texts reach the person who enrols a machine.
var (
	ErrOther   = errors.New("this token is for another collector; make one on this collector with 'wacht-collector token create'")
	ErrUnknown = errors.New("this token is not known here; make a new one with 'wacht-collector token create'")
	ErrExpired = errors.New("this token has expired; make a new one with 'wacht-collector token create'")
	ErrUsed    = errors.New("this token was used already; make a new one with 'wacht-collector token create'")
)

// Find returns the token that a text stands for, or why it is not accepted. Whether
// it was used up, who lets the host join finds out in the same step.
func Find(ctx context.Context, r store.Reader, text string, pin [sha256.Size]byte, now time.Time) (Token, error) {
	given, err := agentpb.ParseToken(text)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrText, err)
	}
	if given.Pin != pin {
		return Token{}, ErrOther
	}
	t, err := tokens.Get(ctx, r, "", hex.EncodeToString(given.ID[:]))
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, ErrUnknown
	}
	if err != nil {
		return Token{}, fmt.Errorf("looking the token up: %w", err)
	}
	sum := sha256.Sum256(given.Secret[:])
	switch {
	case subtle.ConstantTimeCompare(sum[:], t.SecretSHA256) != 1:
		return Token{}, ErrUnknown
	case now.After(t.ExpiresAt):
		return Token{}, ErrExpired
	}
	return t, nil
}
