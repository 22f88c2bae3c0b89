package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/desk/problem"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// load reads what a collector before this one committed.
func (e *Engine) load(ctx context.Context) error {
	numbers, err := countersTable.Get(ctx, e.opt.Store, "", countersKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading the ticket numbers: %w", err)
	}
	e.numbers = numbers
	if err := e.loadHosts(ctx); err != nil {
		return err
	}
	if err := e.loadForeign(ctx); err != nil {
		return err
	}
	if err := e.loadStates(ctx); err != nil {
		return err
	}
	return e.loadDesks(ctx)
}

func (e *Engine) loadHosts(ctx context.Context) error {
	for row, err := range hostsTable.ScanAll(ctx, e.opt.Store) {
		if err != nil {
			return fmt.Errorf("reading hosts: %w", err)
		}
		h := &host{Host: row.Value, tasks: make(map[taskKey]*task)}
		packed, err := e.opt.Store.Get(ctx, &watermarks, h.Customer, h.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			h.mark.Seen = h.JoinedAt
		case err != nil:
			return fmt.Errorf("reading the watermark of host %s: %w", h.ID, err)
		default:
			if h.mark, err = parseWatermark(packed); err != nil {
				return fmt.Errorf("reading the watermark of host %s: %w", h.ID, err)
			}
		}
		if h.gaps, err = gapsTable.Get(ctx, e.opt.Store, h.Customer, h.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading the gaps of host %s: %w", h.ID, err)
		}
		e.hosts[h.ID] = h
	}
	return nil
}

func (e *Engine) loadStates(ctx context.Context) error {
	for row, err := range statesTable.ScanAll(ctx, e.opt.Store) {
		if err != nil {
			return fmt.Errorf("reading check states: %w", err)
		}
		id, _, _ := strings.Cut(row.Key, "\x00")
		h := e.hosts[id]
		if h == nil {
			e.log.Warn("a check state of an unknown host was left out", "key", row.Key)
			continue
		}
		e.loadState(h, &row.Value)
	}
	return nil
}

// loadState makes a state as it was. When its check is not known any more, it waits
// without rules for the agent to declare it anew.
func (e *Engine) loadState(h *host, row *stateRow) {
	t := h.task(taskKey{row.Check, row.Instance})
	h.tasks[t.taskKey] = t
	e.know(t)
	st := &state{
		task: t, item: row.Item, machine: row.Machine,
		shape: &shape{columns: row.Columns, series: e.seriesOf(t, row.Item, row.Columns)},
		since: row.Since, summary: row.Summary, nextWithin: row.NextWithin,
	}
	st.level = st.machine.Level()
	st.shape.program = e.program(t, st.item, st.shape.columns)
	t.states[st.item] = st
	h.states++
	h.expect(st.machine.Due())
}

func (e *Engine) seriesOf(t *task, item string, columns []rules.Column) *seriesSet {
	h := t.host
	subject := history.Subject{
		Customer: h.Customer, Site: h.Site, Host: h.Name, Check: t.check, Instance: t.instance, Item: item,
	}
	return &seriesSet{make: func() []*history.Series {
		out := make([]*history.Series, len(columns))
		for i, c := range columns {
			out[i] = e.opt.History.Series(c.Name, subject, c.Labels...)
		}
		return out
	}}
}

func (e *Engine) loadDesks(ctx context.Context) error {
	customers := make(map[string]struct{})
	for _, h := range e.hosts {
		customers[h.Customer] = struct{}{}
	}
	for _, t := range []*store.Table{incidentsTable.Table, problemsTable.Table} {
		for c, err := range e.opt.Store.Customers(ctx, t) {
			if err != nil {
				return fmt.Errorf("listing customers: %w", err)
			}
			customers[c] = struct{}{}
		}
	}
	for c := range customers {
		if err := e.loadDesk(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) loadDesk(ctx context.Context, customer string) error {
	d, err := e.deskFor(customer)
	if err != nil {
		return err
	}
	var incidents []incident.Incident
	for _, st := range []incident.State{incident.Open, incident.Resolved} {
		for row, err := range incidentsTable.ScanIndex(ctx, e.opt.Store, byState, customer, exactly(string(st))) {
			if err != nil {
				return fmt.Errorf("reading incidents of customer %s: %w", customer, err)
			}
			incidents = append(incidents, row.Value)
		}
	}
	var problems []problem.Problem
	for row, err := range problemsTable.Scan(ctx, e.opt.Store, customer, store.Range{}) {
		if err != nil {
			return fmt.Errorf("reading problems of customer %s: %w", customer, err)
		}
		problems = append(problems, row.Value)
	}
	d.Restore(incidents, problems)
	for _, h := range e.hosts {
		if h.Customer == customer {
			h.silent = d.Silent(h.ID)
		}
	}
	for row, err := range e.opt.Store.Scan(ctx, transitionsTable.Table, customer, store.Range{Reverse: true}) {
		if err != nil {
			return fmt.Errorf("reading transitions of customer %s: %w", customer, err)
		}
		d.transitions, _ = sequenceOf(row.Key)
		break
	}
	return nil
}

// exactly selects one key of an index.
func exactly(key string) store.Range { return store.Range{From: key, To: key + "\x00"} }
