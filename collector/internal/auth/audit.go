package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// Entry is one line of the audit log: who did what, when.
type Entry struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
	// Via is how By proved who it is: session, token or command.
	Via string `json:"via"`
	// Action is what was done: session.begin, session.refused, session.end, user.add,
	// token.add, host.revoke …
	Action string `json:"action"`
	// Subject is what it was done to.
	Subject  string `json:"subject,omitempty"`
	Customer string `json:"customer,omitempty"`
	Address  string `json:"address,omitempty"`
	Text     string `json:"text,omitempty"`
}

// The log's keys are ULIDs (https://github.com/ulid/spec), which sort by time.
var audit = store.Typed[Entry]{Table: &store.Table{Name: "auth_audit"}}

func (p Principal) entry(action, subject string) Entry {
	return Entry{By: p.Name, Via: p.Via, Action: action, Subject: subject, Customer: p.Customer, Address: p.Address}
}

// Record logs what a principal did to a subject of a customer, where no row of this
// package changed with it.
func (a *Auth) Record(ctx context.Context, p Principal, action, subject, customer, text string) error {
	e := p.entry(action, subject)
	e.Customer, e.Text = customer, text
	return a.record(ctx, e)
}

// record writes changes together with the line that tells of them.
func (a *Auth) record(ctx context.Context, e Entry, with ...store.Write) error {
	now := time.Now().UTC()
	id, err := a.lines.next(now)
	if err != nil {
		return fmt.Errorf("numbering a line of the audit log: %w", err)
	}
	e.At = now
	w, err := audit.Put("", id.String(), e)
	if err != nil {
		return err
	}
	if err := a.commit.Commit(ctx, append(with, w)); err != nil {
		return fmt.Errorf("writing %s of %s: %w", e.Action, e.Subject, err)
	}
	return nil
}

// lineNumbers gives ULIDs that rise also within a millisecond.
type lineNumbers struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
}

func newLineNumbers() *lineNumbers {
	return &lineNumbers{entropy: ulid.Monotonic(rand.Reader, 0)}
}

func (n *lineNumbers) next(at time.Time) (ulid.ULID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return ulid.New(ulid.Timestamp(at), n.entropy)
}

// Log returns the newest lines of the audit log, newest first.
func (a *Auth) Log(ctx context.Context, limit int) ([]Entry, error) {
	var out []Entry
	for row, err := range audit.Scan(ctx, a.reader, "", store.Range{Reverse: true}) {
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if len(out) == limit {
			break
		}
		out = append(out, row.Value)
	}
	return out, nil
}
