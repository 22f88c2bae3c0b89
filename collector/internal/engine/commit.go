package engine

import (
	"context"
	"slices"
	"time"

	"github.com/wacht-io/wacht/collector/internal/store"
)

// retryCommit is how long a commit that failed waits before it is tried again. What
// it carries is already in memory, so it is never given up: agents keep what is not
// acknowledged, and the watch goes on.
const retryCommit = time.Second

// commitLoop makes groups durable, one after the other, and then tells whoever
// waits. It ends when the apply loop closed the channel.
func (e *Engine) commitLoop() {
	defer e.archive.close()
	var lost error
	for g := range e.commits {
		if lost != nil {
			// The watermark of a later group would cover what this one's predecessor held.
			e.abandon(g, lost)
			continue
		}
		lost = e.commit(g)
	}
}

// commit makes a group durable. Its error says that the collector stopped before the
// store took it.
func (e *Engine) commit(g *group) error {
	began := time.Now()
	for {
		terms, err := e.terms(g)
		if err == nil {
			err = e.opt.Store.Commit(context.Background(), terms, g.writes)
		}
		e.setFailing(err)
		if err == nil {
			break
		}
		e.metrics.commitErrors.Inc()
		if e.inbox.isClosed() {
			e.abandon(g, err)
			return err
		}
		time.Sleep(retryCommit)
	}
	e.metrics.commits.Observe(time.Since(began).Seconds())
	e.metrics.results.Add(float64(g.results))
	e.acknowledge(g)
	return nil
}

// abandon answers those who wait when the collector stops with a store that takes
// nothing: nothing of the group was acknowledged, so it all comes again.
func (e *Engine) abandon(g *group, err error) {
	e.log.Error("stopping with a commit that the store did not take; agents will send it again", "error", err)
	for _, done := range g.waiting {
		done(err)
	}
}

func (e *Engine) setFailing(err error) {
	e.mu.Lock()
	before := e.failing
	e.failing = err
	e.mu.Unlock()
	switch {
	case err != nil && before == nil:
		e.log.Error("the store does not take commits; nothing is acknowledged until it does", "error", err)
	case err == nil && before != nil:
		e.log.Info("the store takes commits again")
	}
}

// terms are the claims that the group's rows rest on.
func (e *Engine) terms(g *group) ([]store.Term, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]store.Term, 0, len(g.customers))
	for c := range g.customers {
		if d := e.desks[c]; d != nil {
			out = append(out, d.term)
		}
	}
	slices.SortFunc(out, func(a, b store.Term) int { return compareText(a.Scope, b.Scope) })
	return out, nil
}

func (e *Engine) acknowledge(g *group) {
	for _, a := range g.acks {
		a.session.out.ack(a.key, laneMark{Decided: a.decided})
	}
	if len(g.deliveries) > 0 {
		e.opt.Wake(g.deliveries)
	}
	for _, done := range g.waiting {
		done(nil)
	}
	if len(g.acks) > 0 {
		e.archive.add(g.samples, g.acks)
	}
}
