package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// User is a local account, as it is stored.
type User struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Customer is the only customer that the account sees; empty for all.
	Customer  string    `json:"customer,omitempty"`
	Hash      string    `json:"hash"`
	CreatedAt time.Time `json:"created_at"`
	// PasswordAt is when the password was set.
	PasswordAt time.Time `json:"password_at"`
}

// NewUser is an account to be made. Customer limits it to one customer.
type NewUser struct {
	Name     string
	Role     Role
	Customer string
	Password string
}

var users = store.Typed[User]{Table: &store.Table{Name: "auth_users"}}

// AddUser makes an account.
func (a *Auth) AddUser(ctx context.Context, by Principal, n NewUser) (User, error) {
	name, err := checkName(n.Name)
	if err != nil {
		return User{}, err
	}
	if _, err := ParseRole(string(n.Role)); err != nil {
		return User{}, err
	}
	if err := errors.Join(checkScope(n.Customer), checkPassword(name, n.Password)); err != nil {
		return User{}, err
	}
	hash, err := a.hash(ctx, n.Password)
	if err != nil {
		return User{}, err
	}
	a.changes.Lock()
	defer a.changes.Unlock()
	if _, err := users.Get(ctx, a.reader, "", name); !errors.Is(err, store.ErrNotFound) {
		if err == nil {
			err = ErrExists
		}
		return User{}, fmt.Errorf("adding account %s: %w", name, err)
	}
	now := time.Now().UTC()
	u := User{Name: name, Role: n.Role, Customer: n.Customer, Hash: hash, CreatedAt: now, PasswordAt: now}
	return u, a.putUser(ctx, by, "user.add", u, nil)
}

// SetPassword gives an account another password and ends its sessions.
func (a *Auth) SetPassword(ctx context.Context, by Principal, name, password string) error {
	name, err := checkName(name)
	if err != nil {
		return err
	}
	if err := checkPassword(name, password); err != nil {
		return err
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return err
	}
	a.changes.Lock()
	defer a.changes.Unlock()
	u, err := users.Get(ctx, a.reader, "", name)
	if err != nil {
		return fmt.Errorf("reading account %s: %w", name, err)
	}
	u.Hash, u.PasswordAt = hash, time.Now().UTC()
	ends, err := a.endings(ctx, func(s Session) bool { return s.User == name })
	if err != nil {
		return err
	}
	return a.putUser(ctx, by, "user.password", u, ends)
}

func (a *Auth) putUser(ctx context.Context, by Principal, action string, u User, with []store.Write) error {
	w, err := users.Put("", u.Name, u)
	if err != nil {
		return err
	}
	e := by.entry(action, u.Name)
	e.Customer, e.Text = u.Customer, "role "+string(u.Role)
	return a.record(ctx, e, append(with, w)...)
}

// RemoveUser deletes an account and ends its sessions.
func (a *Auth) RemoveUser(ctx context.Context, by Principal, name string) error {
	name, err := checkName(name)
	if err != nil {
		return err
	}
	a.changes.Lock()
	defer a.changes.Unlock()
	if _, err := users.Get(ctx, a.reader, "", name); err != nil {
		return fmt.Errorf("reading account %s: %w", name, err)
	}
	ends, err := a.endings(ctx, func(s Session) bool { return s.User == name })
	if err != nil {
		return err
	}
	return a.record(ctx, by.entry("user.remove", name), append(ends, users.Delete("", name))...)
}

// Users lists the accounts by name.
func (a *Auth) Users(ctx context.Context) ([]User, error) {
	var out []User
	for row, err := range users.Scan(ctx, a.reader, "", store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("reading accounts: %w", err)
		}
		out = append(out, row.Value)
	}
	return out, nil
}

func (u User) principal(address string) Principal {
	return Principal{Name: u.Name, Role: u.Role, Customer: u.Customer, Via: ViaSession, Address: address}
}

// Verify checks a name and password that came from an address. It answers
// ErrCredentials or a TooManyError; how long it takes does not tell whether the
// account exists.
func (a *Auth) Verify(ctx context.Context, name, password, address string) (Principal, error) {
	u, err := a.verify(ctx, name, password, address)
	if err != nil {
		return Principal{}, err
	}
	return u.principal(address), nil
}

func (a *Auth) verify(ctx context.Context, name, password, address string) (User, error) {
	if len(password) > maxPassword {
		return User{}, ErrCredentials
	}
	key, err := checkName(name)
	if err != nil {
		key = "?" // counted together, and no account's name
	}
	if err := a.pace.attempt(time.Now(), key, address); err != nil {
		return User{}, err
	}
	u, err := users.Get(ctx, a.reader, "", key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return User{}, fmt.Errorf("reading account %s: %w", key, err)
	}
	match, err := a.matches(ctx, password, u.Hash)
	if err != nil {
		return User{}, err
	}
	if !match {
		return User{}, a.refused(ctx, u.Name, address)
	}
	a.pace.succeeded(key, address)
	return u, nil
}

// refused logs an attempt that failed; pace bounds how many there can be. The name of
// an account that does not exist is not kept: it may be a password, typed too early.
func (a *Auth) refused(ctx context.Context, name, address string) error {
	if name == "" {
		name = "?"
	}
	e := Entry{By: name, Via: ViaSession, Action: "session.refused", Subject: name, Address: address}
	if err := a.record(ctx, e); err != nil {
		return err
	}
	return ErrCredentials
}
