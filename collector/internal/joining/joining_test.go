package joining_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/joining"
	"github.com/wacht-io/wacht/collector/internal/store"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// A token of several uses is for a roll-out: it lives for a month, and its hosts wait.
func TestDefaults(t *testing.T) {
	pin, now := sha256.Sum256([]byte("authority")), time.Date(2026, 6, 2, 9, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		order    joining.Order
		ttl      time.Duration
		approval bool
	}{
		"one use":       {joining.Order{}, 10 * time.Minute, false},
		"several":       {joining.Order{Uses: 50}, 30 * 24 * time.Hour, true},
		"several, soon": {joining.Order{Uses: 2, TTL: time.Hour}, time.Hour, true},
		"trusted":       {joining.Order{Uses: 2, TTL: time.Hour, NoApproval: true}, time.Hour, false},
	} {
		s := memstore.New()
		tt.order.Customer, tt.order.Site = "acme", "utrecht"
		text, w, err := joining.New(tt.order, pin, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), nil, []store.Write{w}); err != nil {
			t.Fatal(err)
		}
		got, err := joining.Find(t.Context(), s, text, pin, now)
		if err != nil || got.Approval != tt.approval || got.ExpiresAt.Sub(now) != tt.ttl {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Tokens that expired say so for a month, and are then forgotten.
func TestExpiredTokensAreForgotten(t *testing.T) {
	s := memstore.New()
	pin := sha256.Sum256([]byte("authority"))
	now := time.Date(2026, 6, 2, 9, 0, 0, 0, time.UTC)
	made := func(ttl time.Duration) string {
		text, w, err := joining.New(joining.Order{Customer: "acme", Site: "utrecht", TTL: ttl}, pin, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), nil, []store.Write{w}); err != nil {
			t.Fatal(err)
		}
		return text
	}
	short, long := made(time.Minute), made(2*24*time.Hour)
	later := now.Add(31 * 24 * time.Hour)
	gone, err := joining.Expired(t.Context(), s, later)
	if err != nil || len(gone) != 1 {
		t.Fatalf("%d tokens are to be forgotten, and not 1: %v", len(gone), err)
	}
	if err := s.Commit(t.Context(), nil, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := joining.Find(t.Context(), s, short, pin, later); !errors.Is(err, joining.ErrUnknown) {
		t.Errorf("the token that expired a month ago gets %v", err)
	}
	if _, err := joining.Find(t.Context(), s, long, pin, later); !errors.Is(err, joining.ErrExpired) {
		t.Errorf("the token that expired since gets %v", err)
	}
}
