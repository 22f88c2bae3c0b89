package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/declaration"
)

// loadForeign reads which declarations there are, and which hosts name them.
func (e *Engine) loadForeign(ctx context.Context) error {
	for row, err := range namedTable.ScanAll(ctx, e.opt.Store) {
		if err != nil {
			return fmt.Errorf("reading the foreign checks of hosts: %w", err)
		}
		if h := e.hosts[row.Key]; h != nil && h.Customer == row.Customer {
			h.foreign.named = e.namedIn(row.Value)
		}
	}
	for row, err := range foreignTable.ScanAll(ctx, e.opt.Store) {
		if err != nil {
			return fmt.Errorf("reading declarations of agents: %w", err)
		}
		if err := e.loadDeclaration(row.Customer, row.Key, &row.Value); err != nil {
			e.log.Warn("a declaration of an agent can't be used any more and is forgotten", "customer", row.Customer, "error", err)
			e.leftovers = append(e.leftovers, foreignTable.Delete(row.Customer, row.Key))
		}
	}
	return nil
}

// namedIn reads a host's row. A check that is built in by now is not foreign any more.
func (e *Engine) namedIn(row map[string][]byte) map[string][sha256.Size]byte {
	out := make(map[string][sha256.Size]byte, len(row))
	for check, digest := range row {
		if e.specs[check] == nil && len(digest) == sha256.Size {
			out[check] = [sha256.Size]byte(digest)
		}
	}
	return out
}

func (e *Engine) loadDeclaration(customer, key string, row *foreignRow) error {
	check, digest, _ := bytes.Cut([]byte(key), []byte{0})
	if len(digest) != sha256.Size || e.specs[string(check)] != nil {
		return fmt.Errorf("check %q is built in, or its key is damaged", check)
	}
	d, err := declaration.Parse(string(check), row.YAML, [sha256.Size]byte(digest))
	if err != nil {
		return fmt.Errorf("check %s: %w", check, err)
	}
	f := &foreign{Declaration: d, customer: customer, unused: row.Unused}
	if f.book, f.unfit, err = e.policy.Foreign(customer, d.Rules()); err != nil {
		return fmt.Errorf("check %s: %w", check, err)
	}
	switch used := e.inUse(customer, f.key()); {
	case used:
		f.unused = time.Time{}
	case f.unused.IsZero():
		f.unused = e.started
	}
	if e.foreign[customer] == nil {
		e.foreign[customer] = make(map[foreignKey]*foreign)
	}
	e.foreign[customer][f.key()] = f
	return nil
}
