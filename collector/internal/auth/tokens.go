package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Token is a program's right to use the API, as it is stored.
type Token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Customer is the only customer that the token sees; empty for all.
	Customer string `json:"customer,omitempty"`
	// Digest is the SHA-256 of the secret, in hexadecimal.
	Digest    string    `json:"digest"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	// UsedAt is when it was last used, to within an hour.
	UsedAt time.Time `json:"used_at,omitzero"`
}

// NewToken is a token to be made. Without a name it is called by its id; a zero TTL
// means that it does not expire.
type NewToken struct {
	Name     string
	Role     Role
	Customer string
	TTL      time.Duration
}

// TokenPrefix begins every token, so that scanners of leaked secrets know one.
const TokenPrefix = "wacht_api_" //nolint:gosec // the part before the secret

// usedEvery bounds how often the use of a token is written down.
const usedEvery = time.Hour

var (
	tokens = store.Typed[Token]{Table: &store.Table{Name: "auth_tokens"}}

	errToken = errors.New("the API token is unknown, expired or revoked: make another with wacht-collector apitoken create")
)

// AddToken makes a token and returns its text, which can't be had again.
func (a *Auth) AddToken(ctx context.Context, by Principal, n NewToken) (text string, t Token, err error) {
	if _, err := ParseRole(string(n.Role)); err != nil {
		return "", Token{}, err
	}
	if err := checkScope(n.Customer); err != nil {
		return "", Token{}, err
	}
	if n.TTL < 0 {
		return "", Token{}, fmt.Errorf("a token can't live for %s: use a time above zero, or none for one that does not expire", n.TTL)
	}
	now := time.Now().UTC()
	t = Token{ID: strings.ToLower(rand.Text()[:12]), Name: n.Name, Role: n.Role, Customer: n.Customer, CreatedAt: now, CreatedBy: by.Name}
	if t.Name == "" {
		t.Name = t.ID
	}
	if t.Name, err = checkName(t.Name); err != nil {
		return "", Token{}, err
	}
	if n.TTL > 0 {
		t.ExpiresAt = now.Add(n.TTL)
	}
	secret := rand.Text() + rand.Text() // 260 bits
	t.Digest = digest(secret)
	w, err := tokens.Put("", t.ID, t)
	if err != nil {
		return "", Token{}, err
	}
	e := by.entry("token.add", t.ID)
	e.Customer, e.Text = t.Customer, "name "+t.Name+", role "+string(t.Role)
	return TokenPrefix + t.ID + "_" + secret, t, a.record(ctx, e, w)
}

// RevokeToken ends a token at once.
func (a *Auth) RevokeToken(ctx context.Context, by Principal, id string) error {
	a.changes.Lock()
	defer a.changes.Unlock()
	t, err := tokens.Get(ctx, a.reader, "", id)
	if err != nil {
		return fmt.Errorf("reading token %q: %w", id, err)
	}
	if !t.RevokedAt.IsZero() {
		return nil
	}
	t.RevokedAt = time.Now().UTC()
	w, err := tokens.Put("", id, t)
	if err != nil {
		return err
	}
	e := by.entry("token.revoke", id)
	e.Customer, e.Text = t.Customer, "name "+t.Name
	return a.record(ctx, e, w)
}

// Tokens lists the tokens by id.
func (a *Auth) Tokens(ctx context.Context) ([]Token, error) {
	var out []Token
	for row, err := range tokens.Scan(ctx, a.reader, "", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("reading API tokens: %w", err)
		}
		out = append(out, row.Value)
	}
	return out, nil
}

// bearer says who presents a token.
func (a *Auth) bearer(ctx context.Context, text, address string) (Principal, error) {
	id, secret, found := strings.Cut(strings.TrimPrefix(text, TokenPrefix), "_")
	if !found || !strings.HasPrefix(text, TokenPrefix) || !namePattern.MatchString(id) {
		return Principal{}, errToken
	}
	t, err := tokens.Get(ctx, a.reader, "", id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Principal{}, fmt.Errorf("reading an API token: %w", err)
	}
	now := time.Now()
	same := subtle.ConstantTimeCompare([]byte(t.Digest), []byte(digest(secret))) == 1
	if !same || !t.RevokedAt.IsZero() || (!t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)) {
		return Principal{}, errToken
	}
	if now.Sub(t.UsedAt) >= usedEvery {
		a.used(ctx, id, now)
	}
	return Principal{Name: "api:" + t.Name, Role: t.Role, Customer: t.Customer, Via: ViaToken, Address: address}, nil
}

// used notes a token's use. It reads the token again, so that it can't undo a
// revocation that was made meanwhile.
func (a *Auth) used(ctx context.Context, id string, now time.Time) {
	a.changes.Lock()
	defer a.changes.Unlock()
	t, err := tokens.Get(ctx, a.reader, "", id)
	if err == nil {
		t.UsedAt = now.UTC()
		err = a.putToken(ctx, t)
	}
	if err != nil {
		a.logger.Warn("The use of an API token can't be noted", "token", id, "error", err)
	}
}

func (a *Auth) putToken(ctx context.Context, t Token) error {
	w, err := tokens.Put("", t.ID, t)
	if err != nil {
		return err
	}
	return a.commit.Commit(ctx, []store.Write{w})
}

// digest is enough for a secret that is random and long.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
