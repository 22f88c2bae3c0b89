package engine

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/declaration"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// A check that is not built in is foreign: an agent's plugin brought it, and its
// declaration with it. A hello names the digest of each; what the collector does not
// know by its digest it asks for. A declaration is kept for the customer, and counts for
// those of its hosts alone whose newest hello names that very digest: two versions of a
// plugin live side by side, two customers' checks of one name know nothing of each
// other, and a built-in check is never touched.

// Limits of foreign checks. What goes beyond is not judged, and named in a finding.
const (
	MaxForeign         = 50  // foreign checks that one hello may name
	MaxDeclarations    = 500 // declarations kept a customer
	MaxNewDeclarations = 200 // declarations that one host is asked for in a day
	// MaxForeignBytes bounds the memory of what a host's foreign checks are judged by:
	// each layout of metrics that a check comes in takes a program of its own.
	MaxForeignBytes = 32 << 20
	// KeepDeclaration is how long a declaration is kept that no host names any more.
	KeepDeclaration = 30 * 24 * time.Hour
	// answerWithin is how soon an agent should have answered what it was asked for.
	answerWithin = time.Minute
	maxHelloKeys = 1000 // checks that are looked at in a hello
)

// foreignKey is a version of a check: its name and the digest of its declaration.
type foreignKey struct {
	check  string
	digest [sha256.Size]byte
}

// row is the key of the declaration's row.
func (k foreignKey) row() string { return k.check + "\x00" + string(k.digest[:]) }

// foreign is a declaration that agents of one customer brought, as it is used.
type foreign struct {
	*declaration.Declaration
	customer string
	// book has the rules that hold by it, unfit what of the policy is left out of them.
	book  *rules.Book
	unfit []string
	// unused is since when no host names it; zero while one does.
	unused time.Time
}

func (f *foreign) key() foreignKey { return foreignKey{f.Spec.Name, f.SHA256} }

// hostForeign is what a host has of foreign checks.
type hostForeign struct {
	// named are the digests of the host's newest hello, by check.
	named map[string][sha256.Size]byte
	// refused says why a declaration of the host can't be used.
	refused map[foreignKey]string
	// asked counts the declarations that the host was asked for since askedFrom.
	asked     int
	askedFrom time.Time
	// programs are those that the host's foreign states are judged by, taking bytes;
	// counted is when they were last counted anew.
	programs map[*rules.Program]struct{}
	bytes    int
	counted  time.Time
}

// foreignRow is a declaration on disk.
type foreignRow struct {
	YAML   []byte    `json:"yaml"`
	Unused time.Time `json:"unused,omitzero"`
}

// The rows of declarations, by check and digest; and those of hosts: the digests that
// the newest hello named, by check.
var (
	foreignTable = store.Typed[foreignRow]{Table: &store.Table{Name: "declarations"}}
	namedTable   = store.Typed[map[string][]byte]{Table: &store.Table{Name: "host_declarations"}}
)

func (e *Engine) putForeign(g *group, f *foreign) error {
	g.customers[f.customer] = struct{}{}
	return put(g, foreignTable, f.customer, f.key().row(), foreignRow{YAML: f.YAML, Unused: f.unused})
}

func (e *Engine) putNamed(g *group, h *host) error {
	g.customers[h.Customer] = struct{}{}
	if len(h.foreign.named) == 0 {
		g.writes = append(g.writes, namedTable.Delete(h.Customer, h.ID))
		return nil
	}
	row := make(map[string][]byte, len(h.foreign.named))
	for check, digest := range h.foreign.named {
		row[check] = bytes.Clone(digest[:])
	}
	return put(g, namedTable, h.Customer, h.ID, row)
}

// know gives a task its declaration: the built-in one or, for a foreign check, the one
// that its host names, once it is there.
func (e *Engine) know(t *task) {
	t.spec, t.foreign = e.specs[t.check], nil
	if t.spec != nil {
		return
	}
	if digest, ok := t.host.foreign.named[t.check]; ok {
		if f := e.foreign[t.host.Customer][foreignKey{t.check, digest}]; f != nil {
			t.spec, t.foreign = f.Spec, f
		}
	}
}

// program returns what judges an item's results with such columns, or nil when nothing
// does.
func (e *Engine) program(t *task, item string, columns []rules.Column) *rules.Program {
	if t.foreign != nil {
		return t.host.foreignProgram(t, item, columns)
	}
	p, err := e.policy.Book().Program(t.host.subject(t, item), columns)
	if err != nil {
		return nil // the check is not declared, which is the only reason
	}
	return p
}

// rename makes other foreign checks those that a host names.
func (e *Engine) rename(g *group, h *host, named map[string][sha256.Size]byte) error {
	before := h.foreign.named
	h.foreign.named = named
	maps.DeleteFunc(h.foreign.refused, func(k foreignKey, _ string) bool { return named[k.check] != k.digest })
	if err := e.putNamed(g, h); err != nil {
		return err
	}
	for check, digest := range named {
		if f := e.foreign[h.Customer][foreignKey{check, digest}]; f != nil && !f.unused.IsZero() {
			f.unused = time.Time{}
			e.note(g, e.putForeign(g, f))
		}
	}
	for check, digest := range before {
		key := foreignKey{check, digest}
		if f := e.foreign[h.Customer][key]; f != nil && !e.inUse(h.Customer, key) {
			f.unused = g.now
			e.note(g, e.putForeign(g, f))
		}
	}
	e.rebindForeign(g, h)
	return nil
}

// inUse says whether a host of the customer names the declaration.
func (e *Engine) inUse(customer string, key foreignKey) bool {
	for _, h := range e.hosts {
		if digest, ok := h.foreign.named[key.check]; ok && h.Customer == customer && digest == key.digest {
			return true
		}
	}
	return false
}

// rebindForeign gives a host's tasks the declarations that count now, and the states of
// those that got another one its rules.
func (e *Engine) rebindForeign(g *group, h *host) {
	changed := make(map[*task]struct{})
	learn := func(t *task) {
		before := t.foreign
		if e.know(t); t.foreign != before {
			changed[t] = struct{}{}
		}
	}
	for _, t := range h.tasks {
		learn(t)
	}
	if h.session != nil {
		for _, t := range h.session.tasks {
			learn(t)
		}
	}
	if len(changed) == 0 {
		return
	}
	for t := range changed {
		for _, st := range t.states {
			e.rebind(g, st)
		}
	}
	if h.session != nil {
		h.session.rebind(func(t *task) bool { _, ok := changed[t]; return ok })
	}
	h.count()
}

// rebook makes the rules of all foreign checks anew, for another policy.
func (e *Engine) rebook() {
	for _, all := range e.foreign {
		for _, f := range all {
			book, unfit, err := e.policy.Foreign(f.customer, f.Rules())
			if err != nil {
				// It was compiled when it came, without layers, of which none can break it.
				e.log.Error("a declaration of an agent keeps the rules that it had", "customer", f.customer, "check", f.Spec.Name, "error", err)
				continue
			}
			f.book, f.unfit = book, unfit
		}
	}
	for _, h := range e.hosts {
		h.foreign.programs, h.foreign.bytes = nil, 0
	}
}

// sweepForeign forgets declarations that no host has named for long, and notes agents
// that owe one.
func (e *Engine) sweepForeign(g *group) {
	for _, w := range e.leftovers {
		g.writes = append(g.writes, w)
		g.customers[w.Customer] = struct{}{}
	}
	e.leftovers = nil
	for _, all := range e.foreign {
		for _, f := range all {
			if !f.unused.IsZero() && g.now.Sub(f.unused) >= KeepDeclaration {
				e.drop(g, f)
			}
		}
	}
	for _, h := range e.hosts {
		s := h.session
		if s == nil || s.askedAt.IsZero() || g.now.Sub(s.askedAt) < answerWithin {
			continue
		}
		for key := range s.wanted {
			h.finding(g.now, fmt.Sprintf("the agent did not tell the declaration of check %s that it was asked for: its results are kept, but not judged", key.check))
		}
		s.askedAt = time.Time{}
	}
}

// Declared lists the declarations that a customer's agents brought and hosts use, by
// check; customer "" lists every customer's.
func (e *Engine) Declared(customer string) []*checks.Spec {
	e.mu.Lock()
	defer e.mu.Unlock()
	var used []*foreign
	for c, all := range e.foreign {
		for _, f := range all {
			if f.unused.IsZero() && (customer == "" || c == customer) {
				used = append(used, f)
			}
		}
	}
	slices.SortFunc(used, func(a, b *foreign) int {
		if c := compareText(a.Spec.Name, b.Spec.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.SHA256[:], b.SHA256[:])
	})
	out := make([]*checks.Spec, len(used))
	for i, f := range used {
		out[i] = f.Spec
	}
	return out
}

// Unfit lists what of the policy does not fit a declaration that hosts use, and is left
// out for them: one line each.
func (e *Engine) Unfit() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for customer, all := range e.foreign {
		for _, f := range all {
			if f.unused.IsZero() {
				for _, text := range f.unfit {
					out = append(out, fmt.Sprintf("customer %s, check %s: %s", customer, f.Spec.Name, text))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
