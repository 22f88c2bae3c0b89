package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/joining"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Newcomer is a machine that may join: its token or its parent said so.
type Newcomer struct {
	ID             string
	Customer, Site string
	Labels         map[string]string
	// TokenID is the token that it came with, TokenUses how many hosts may.
	TokenID   string
	TokenUses int
	CloneOf   string
	// Pending says that a person has to approve it before it may come in.
	Pending   bool
	KeySHA256 []byte
	CertUntil time.Time
	Machine   *agentpb.Machine
}

// used says whether as many hosts joined with the newcomer's token as may. The
// hosts are counted, in the step that adds one, so two that come at once can't both
// take the last place.
func (e *Engine) used(n *Newcomer) bool {
	joined := 0
	for _, h := range e.hosts {
		if n.TokenID != "" && h.TokenID == n.TokenID {
			joined++
		}
	}
	return n.TokenID != "" && joined >= n.TokenUses
}

// Limits of what joins from copied state folders.
const (
	// MaxCopies bounds the hosts, not revoked, that joined from one host's folder.
	MaxCopies = 20
	// copyWithin is how soon after its copy was noticed a host's certificate may bring
	// another host in.
	copyWithin = time.Hour
)

// ErrCopies says that a copied state folder may not bring another host in.
var ErrCopies = errors.New("this state folder was copied too often, or not noticed as a copy; enrol this machine with a token of its own")

// mayCopy says whether a newcomer that shows another host's certificate may join:
// that host's copy was just noticed, and there are not too many of them. They count
// for the host that they all come from.
func (e *Engine) mayCopy(n *Newcomer, now time.Time) error {
	if n.CloneOf == "" {
		return nil
	}
	parent := e.hosts[n.CloneOf]
	if parent == nil || !parent.RevokedAt.IsZero() || now.Sub(parent.reusedAt) > copyWithin {
		return ErrCopies
	}
	if parent.CloneOf != "" {
		n.CloneOf = parent.CloneOf
	}
	copies := 0
	for _, h := range e.hosts {
		if h.CloneOf == n.CloneOf && h.RevokedAt.IsZero() {
			copies++
		}
	}
	if copies >= MaxCopies {
		return ErrCopies
	}
	return nil
}

// Join makes a host of a newcomer, durably.
func (e *Engine) Join(ctx context.Context, n Newcomer) (inventory.Host, error) {
	var joined inventory.Host
	err := e.do(ctx, func(g *group) error {
		if e.used(&n) {
			return joining.ErrUsed
		}
		if err := e.mayCopy(&n, g.now); err != nil {
			return err
		}
		if _, err := e.deskFor(n.Customer); err != nil {
			return err
		}
		h := &host{
			Host: inventory.Host{
				ID: n.ID, Customer: n.Customer, Site: n.Site, Labels: n.Labels,
				KeySHA256: n.KeySHA256, JoinedAt: g.now, TokenID: n.TokenID, CloneOf: n.CloneOf, CertUntil: n.CertUntil,
				Pending: n.Pending,
			},
			tasks: make(map[taskKey]*task),
		}
		describe(&h.Host, n.Machine)
		h.Name = e.freeName(n.Customer, h.Hostname)
		h.mark.Seen = g.now
		if n.CloneOf != "" {
			h.finding(g.now, "joined from a copied state folder of host "+e.nameOf(n.CloneOf))
		}
		if err := e.putHost(g, h); err != nil {
			return err
		}
		e.hosts[h.ID] = h
		joined = h.Host
		return nil
	})
	if err != nil {
		return inventory.Host{}, err
	}
	return joined, nil
}

func (e *Engine) nameOf(id string) string {
	if h := e.hosts[id]; h != nil {
		return h.Name
	}
	return id
}

// freeName gives a newcomer a name that no other host of its customer has.
func (e *Engine) freeName(customer, hostname string) string {
	base := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(hostname, ""))
	if base == "" {
		base = "host"
	}
	taken := make(map[string]bool, len(e.hosts))
	for _, h := range e.hosts {
		taken[h.ID] = true // a name that is another's id would be mistaken for it
		if h.Customer == customer {
			taken[h.Name] = true
		}
	}
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// named finds a customer's host by name or id; revoked hosts keep their names.
func (e *Engine) named(customer, name string) *host {
	if h := e.hosts[name]; h != nil && h.Customer == customer {
		return h
	}
	for _, h := range e.hosts {
		if h.Customer == customer && h.Name == name {
			return h
		}
	}
	return nil
}

// Authorize says whether a key may act as a host: it must be the one that the host
// joined with, and the host must not be revoked.
func (e *Engine) Authorize(hostID string, keySHA256 []byte) (inventory.Host, *RefusedError) {
	h, ok := e.hostRecord(hostID)
	switch {
	case !ok:
		return h, &RefusedError{agentpb.Refused_REVOKED, "this host is not known here; enrol it again with a new token"}
	case !h.RevokedAt.IsZero():
		return h, &RefusedError{agentpb.Refused_REVOKED, "this host was revoked; enrol it again with a new token"}
	case !bytes.Equal(h.KeySHA256, keySHA256):
		return h, &RefusedError{agentpb.Refused_REVOKED, "this key is not the one that the host joined with"}
	}
	return h, nil
}

// Renewed notes until when a host's newest certificate is valid.
func (e *Engine) Renewed(ctx context.Context, hostID string, until time.Time) error {
	return e.do(ctx, func(g *group) error {
		h := e.hosts[hostID]
		if h == nil || !h.RevokedAt.IsZero() {
			return store.ErrNotFound
		}
		h.CertUntil = until
		return e.putHost(g, h)
	})
}
