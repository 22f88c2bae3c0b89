package auth

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
)

// Limits of a password: its least length in characters, and its greatest in bytes, so
// that nobody makes the collector hash a book. NIST SP 800-63B asks for no rules on
// what kinds of characters there are, and neither do we.
const (
	MinPassword = 12
	maxPassword = 1024
	minDistinct = 5
)

func checkPassword(name, password string) error {
	distinct := map[rune]bool{}
	for _, r := range password {
		distinct[r] = true
	}
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return fmt.Errorf("the password is not valid UTF-8")
	case n < MinPassword:
		return fmt.Errorf("the password has %d characters: use at least %d, for example four words", n, MinPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("the password has %d bytes: use at most %d", len(password), maxPassword)
	case len(distinct) < minDistinct:
		return fmt.Errorf("the password has only %d different characters: use at least %d", len(distinct), minDistinct)
	case strings.Contains(strings.ToLower(password), name) && len(name) > len(password)/2:
		return fmt.Errorf("the password is the account's name with little more: use another")
	}
	return nil
}

func (a *Auth) hash(ctx context.Context, password string) (string, error) {
	done, err := a.enter(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := argon2id.CreateHash(password, a.options.Hashing)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	return hash, nil
}

// matches takes as long for an account that does not exist (hash "") as for one that does.
func (a *Auth) matches(ctx context.Context, password, hash string) (bool, error) {
	done, err := a.enter(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	exists := hash != ""
	if !exists {
		hash = a.decoy()
	}
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("comparing the password: %w", err)
	}
	return match && exists, nil
}

// enter waits for one of the places in which passwords are hashed.
func (a *Auth) enter(ctx context.Context) (done func(), err error) {
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}
