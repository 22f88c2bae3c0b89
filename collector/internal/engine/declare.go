package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/declaration"
)

// hear takes over which foreign checks a hello names, uses the declarations that are
// known, and asks for the others.
func (s *Session) hear(g *group, named []*agentpb.CheckDigest) error {
	e, h := s.engine, s.host
	now := e.foreignOf(h, named, g.now)
	if !maps.Equal(now, h.foreign.named) {
		if err := e.rename(g, h, now); err != nil {
			return err
		}
	}
	s.wanted = make(map[foreignKey]struct{})
	var ask []string
	for _, check := range slices.Sorted(maps.Keys(now)) {
		key := foreignKey{check, now[check]}
		if f := e.foreign[h.Customer][key]; f != nil {
			h.tellUnfit(g.now, f)
		} else if h.mayAsk(g.now, key) {
			s.wanted[key] = struct{}{}
			ask = append(ask, check)
		}
	}
	if len(ask) > 0 {
		s.askedAt = g.now
		s.out.send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_DeclarationsWanted{
			DeclarationsWanted: &agentpb.DeclarationsWanted{Checks: ask},
		}})
	}
	return nil
}

// foreignOf reads the foreign checks that a hello names. The digest of a built-in check
// says nothing: the collector judges those by its own declarations.
func (e *Engine) foreignOf(h *host, named []*agentpb.CheckDigest, now time.Time) map[string][sha256.Size]byte {
	out := make(map[string][sha256.Size]byte)
	if len(named) > maxHelloKeys {
		named = named[:maxHelloKeys]
		h.finding(now, fmt.Sprintf("the hello names more than %d checks; the rest is not looked at", maxHelloKeys))
	}
	for _, d := range named {
		if e.specs[d.Check] != nil {
			continue
		}
		if !validName(d.Check) || len(d.Sha256) != sha256.Size {
			h.finding(now, fmt.Sprintf("the hello names a check %q without a valid name and digest", clip(d.Check)))
			continue
		}
		if _, twice := out[d.Check]; len(out) == MaxForeign && !twice {
			h.finding(now, fmt.Sprintf("the agent has more than %d checks that are not built in; results of the others are kept, but not judged", MaxForeign))
			break
		}
		out[d.Check] = [sha256.Size]byte(d.Sha256)
	}
	return out
}

// mayAsk says whether a host may be asked for a declaration: it was not refused before,
// and the host did not bring too many today.
func (h *host) mayAsk(now time.Time, key foreignKey) bool {
	o := &h.foreign
	if why, refused := o.refused[key]; refused {
		h.finding(now, why)
		return false
	}
	if now.Sub(o.askedFrom) >= 24*time.Hour {
		o.asked, o.askedFrom = 0, now
	}
	if o.asked >= MaxNewDeclarations {
		h.finding(now, fmt.Sprintf("the host brought %d new declarations in a day; no more are taken until tomorrow", MaxNewDeclarations))
		return false
	}
	o.asked++
	return true
}

// tellUnfit notes what of the policy is left out for a host's check: the first of it,
// since the host has other findings too.
func (h *host) tellUnfit(now time.Time, f *foreign) {
	if len(f.unfit) == 0 {
		return
	}
	text := fmt.Sprintf("the policy does not fit check %s as this agent has it, and this part is left out: %s", f.Spec.Name, f.unfit[0])
	if more := len(f.unfit) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more parts", more)
	}
	h.finding(now, text)
}

// Declare takes declarations that the agent was asked for. What can't be used is a
// finding of the host; an error ends the stream.
func (s *Session) Declare(ctx context.Context, all []*agentpb.Declaration) error {
	for _, d := range all {
		key, asked, known := s.answers(d.GetCheck())
		if known {
			continue // another host of the customer was quicker
		}
		if !asked {
			if s.refusals++; s.refusals > maxRefusals {
				return s.spoilt(fmt.Errorf("more than %d declarations or runs were refused in one stream", maxRefusals))
			}
			s.note(fmt.Sprintf("a declaration of check %q was not asked for, and is left out", clip(d.GetCheck())))
			continue
		}
		parsed, err := declaration.Parse(key.check, d.GetYaml(), key.digest)
		if err := s.engine.do(ctx, func(g *group) error { return s.take(g, key, parsed, err) }); err != nil {
			return err
		}
	}
	return nil
}

// answers says which declaration of a check the agent was asked for, each once, and
// whether it is known by now.
func (s *Session) answers(check string) (key foreignKey, asked, known bool) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for key := range s.wanted {
		if key.check == check {
			delete(s.wanted, key)
			return key, true, s.engine.foreign[s.host.Customer][key] != nil
		}
	}
	return foreignKey{}, false, false
}

// take keeps a declaration that was read, or notes why it can't be used.
func (s *Session) take(g *group, key foreignKey, d *declaration.Declaration, unfit error) error {
	e, h := s.engine, s.host
	if h.session != s || h.foreign.named[key.check] != key.digest {
		return nil // another stream took over
	}
	if e.foreign[h.Customer][key] != nil {
		return nil
	}
	var f *foreign
	if unfit == nil {
		f, unfit = e.keep(g, h.Customer, d)
	}
	if errors.Is(unfit, errFull) {
		h.finding(g.now, fmt.Sprintf("check %s is not judged: %v", key.check, unfit))
		return nil
	}
	if unfit != nil {
		why := fmt.Sprintf("the agent's declaration of check %s can't be used, so that its results are kept, but not judged: %v", key.check, unfit)
		if h.foreign.refused == nil {
			h.foreign.refused = make(map[foreignKey]string)
		}
		h.foreign.refused[key] = why
		h.finding(g.now, why)
		return nil
	}
	for _, other := range e.hosts {
		if digest, ok := other.foreign.named[key.check]; ok && other.Customer == h.Customer && digest == key.digest {
			other.tellUnfit(g.now, f)
			e.rebindForeign(g, other)
		}
	}
	return nil
}

var errFull = fmt.Errorf("the customer's hosts use %d declarations already, which is the most", MaxDeclarations)

// keep makes a new declaration one of the customer's. When there are too many, the one
// that no host has named for longest makes room.
func (e *Engine) keep(g *group, customer string, d *declaration.Declaration) (*foreign, error) {
	all := e.foreign[customer]
	if all == nil {
		all = make(map[foreignKey]*foreign)
		e.foreign[customer] = all
	}
	if len(all) >= MaxDeclarations {
		var oldest *foreign
		for _, f := range all {
			if !f.unused.IsZero() && (oldest == nil || f.unused.Before(oldest.unused)) {
				oldest = f
			}
		}
		if oldest == nil {
			return nil, errFull
		}
		e.drop(g, oldest)
	}
	f := &foreign{Declaration: d, customer: customer}
	var err error
	if f.book, f.unfit, err = e.policy.Foreign(customer, d.Rules()); err != nil {
		return nil, err
	}
	all[f.key()] = f
	return f, e.putForeign(g, f)
}

func (e *Engine) drop(g *group, f *foreign) {
	delete(e.foreign[f.customer], f.key())
	g.writes = append(g.writes, foreignTable.Delete(f.customer, f.key().row()))
	g.customers[f.customer] = struct{}{}
}
