package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/desk/incident"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Report takes a person's report of a customer's incident, question or request.
func (e *Engine) Report(ctx context.Context, customer string, r desk.Report) (incident.Incident, error) {
	return e.person(ctx, customer, func() (desk.Event, error) {
		if r.Host != "" {
			h := e.named(customer, r.Host)
			if h == nil {
				return nil, fmt.Errorf("customer %s has no host %q: %w", customer, r.Host, store.ErrNotFound)
			}
			r.Host, r.HostName, r.Site = h.ID, h.Name, h.Site
		}
		if _, known := e.desks[customer]; !known {
			return nil, fmt.Errorf("there is no customer %q: %w", customer, store.ErrNotFound)
		}
		return r, nil
	})
}

// Act does what a person asks of an incident.
func (e *Engine) Act(ctx context.Context, customer string, a desk.Act) (incident.Incident, error) {
	in, err := e.person(ctx, customer, func() (desk.Event, error) { return a, nil })
	if !errors.Is(err, desk.ErrNotFound) {
		return in, err
	}
	// The desk holds no closed incidents; what may be done to one says its record.
	in, err = e.Incident(ctx, customer, a.Number)
	if err != nil {
		return in, err
	}
	err = desk.Allows(&in, a.Action)
	return in, err
}

// person lets the desk handle what a person did, and answers the incident once the
// change is durable.
func (e *Engine) person(ctx context.Context, customer string, event func() (desk.Event, error)) (incident.Incident, error) {
	var out incident.Incident
	err := e.do(ctx, func(g *group) error {
		ev, err := event()
		if err != nil {
			return err
		}
		result, err := e.handle(g, customer, ev)
		if err != nil {
			return err
		}
		if len(result.Incidents) > 0 {
			out = result.Incidents[0]
		}
		return nil
	})
	if err != nil {
		return incident.Incident{}, err
	}
	return out, nil
}

// Revoke ends a host's right to come in, closes its stream, and ends what was open
// about it: nobody observes it any more.
func (e *Engine) Revoke(ctx context.Context, customer, id, by string) error {
	return e.do(ctx, func(g *group) error {
		h := e.named(customer, id)
		if h == nil {
			return fmt.Errorf("customer %s has no host %q: %w", customer, id, store.ErrNotFound)
		}
		if !h.RevokedAt.IsZero() {
			return nil
		}
		h.RevokedAt = g.now
		if err := e.rename(g, h, nil); err != nil {
			return err
		}
		if _, err := e.handle(g, customer, desk.HostRevoked{Host: h.ID, HostName: h.Name, By: by}); err != nil {
			return err
		}
		for _, t := range h.tasks {
			for _, st := range t.states {
				e.forget(g, st)
			}
		}
		if s := h.session; s != nil {
			h.session = nil // what is still queued of it is not taken up
			s.out.send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{Refused: &agentpb.Refused{
				Code: agentpb.Refused_REVOKED, Reason: "this host was revoked",
			}}})
			s.out.close()
		}
		return e.putHost(g, h)
	})
}

// Approve lets a host in that waits for it; its agent asks again within minutes. A
// host that does not wait stays as it is.
func (e *Engine) Approve(ctx context.Context, customer, id, by string) error {
	return e.do(ctx, func(g *group) error {
		h := e.named(customer, id)
		switch {
		case h == nil:
			return fmt.Errorf("customer %s has no host %q: %w", customer, id, store.ErrNotFound)
		case !h.RevokedAt.IsZero():
			return fmt.Errorf("host %s was revoked: %w; it can join again with a new token", h.Name, desk.ErrWrongState)
		case !h.Pending:
			return nil
		}
		h.Pending, h.ApprovedAt, h.ApprovedBy = false, g.now, by
		h.mark.Seen = g.now // from now on it may not be silent
		return e.putHost(g, h)
	})
}

// pendingReason tells who set up a machine what it waits for.
func pendingReason(h *inventory.Host) string {
	return fmt.Sprintf("this host waits for approval: 'wacht-collector host approve %s', or on the collector's page of hosts", h.ID)
}

// Goodbye notes that an agent announced its leaving.
func (s *Session) Goodbye(ctx context.Context, reason agentpb.Goodbye_Reason) error {
	return s.engine.do(ctx, func(g *group) error {
		h := s.host
		if h.session != s {
			return nil // another stream took over
		}
		h.GoodbyeAt, h.Goodbye = g.now, goodbyes[reason]
		return s.engine.putHost(g, h)
	})
}

var goodbyes = map[agentpb.Goodbye_Reason]string{
	agentpb.Goodbye_SHUTDOWN: "shutdown",
	agentpb.Goodbye_REBOOT:   "reboot",
	agentpb.Goodbye_SLEEP:    "sleep",
	agentpb.Goodbye_UPGRADE:  "upgrade",
	agentpb.Goodbye_STOP:     "stop",
}

// Gap notes runs that will never come. It is no-data, and never OK.
func (s *Session) Gap(ctx context.Context, gap *agentpb.Gap) error {
	return s.engine.do(ctx, func(g *group) error {
		h := s.host
		if gap.To < gap.From || gap.To-gap.From >= maxGap || h.session != s || h.mark.epoch(gap.Epoch) == nil {
			return nil // no agent says that
		}
		s.confirm()
		if slices.ContainsFunc(h.gaps, func(r gapRow) bool { return r.Epoch == gap.Epoch && r.From <= gap.From && r.To >= gap.To }) {
			return nil // told before, on a stream that broke before the agent knew
		}
		runs := gap.To - gap.From + 1
		s.engine.metrics.gaps.Add(float64(runs))
		h.finding(g.now, fmt.Sprintf("%d runs are lost: %s", runs, gapReasons[gap.Reason]))
		h.gaps = append(h.gaps, gapRow{At: g.now, Epoch: gap.Epoch, From: gap.From, To: gap.To, Reason: gap.Reason.String()})
		h.gaps = h.gaps[max(0, len(h.gaps)-maxGaps):]
		return put(g, gapsTable, h.Customer, h.ID, h.gaps)
	})
}

// Limits of what is taken of gaps: the runs of one (a year's, each second), and how
// many of a host's are kept, newest last.
const (
	maxGap  = 366 * 24 * 3600
	maxGaps = 100
)

var gapReasons = map[agentpb.Gap_Reason]string{
	agentpb.Gap_LOST:    "the agent ended before they were on its disk",
	agentpb.Gap_DROPPED: "the agent's spool was full",
	agentpb.Gap_DAMAGED: "the agent's spool was damaged",
	agentpb.Gap_REFUSED: "the collector refused them",
}

// PolicyAnswer notes which tasks the agent took over.
func (s *Session) PolicyAnswer(a *agentpb.PolicyAnswer) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	s.host.refused = nil
	for _, t := range a.Tasks {
		if !t.Applied && len(s.host.refused) < MaxTasks {
			s.host.refused = append(s.host.refused, RefusedTask{Check: clip(t.Check), Instance: clip(t.Instance), Reason: clip(t.Reason)})
		}
	}
}

// sendPolicy gives the agent its host's effective configuration, unless it has it.
func (s *Session) sendPolicy(have uint64) {
	p := s.engine.policy.Effective(s.host.Host, slices.Sorted(maps.Keys(s.host.foreign.named)))
	if s.policy = p.Revision; p.Revision == have {
		return
	}
	s.out.send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Policy{Policy: p}})
}

// SetPolicy makes another policy the one that holds: states are judged by its rules
// from their next result on, and agents get their new configuration.
func (e *Engine) SetPolicy(ctx context.Context, p Policy) error {
	return e.do(ctx, func(g *group) error {
		e.policy = p
		e.rebook()
		for _, h := range e.hosts {
			for _, t := range h.tasks {
				for _, st := range t.states {
					e.rebind(g, st)
				}
			}
			if h.session != nil {
				h.session.rebind(func(*task) bool { return true })
				h.session.sendPolicy(h.session.policy)
			}
		}
		return nil
	})
}

// rebind gives the shapes that the stream defined the rules that hold now.
func (s *Session) rebind(of func(*task) bool) {
	for _, ss := range s.states {
		if ss.shape != nil && of(ss.task) {
			ss.shape.program = s.engine.program(ss.task, ss.item, ss.shape.columns)
		}
	}
}

// rebind gives a state the program that holds now, which ends what rules that are no
// more had opened, and judges a result that came when there was none.
func (e *Engine) rebind(g *group, st *state) {
	program := e.program(st.task, st.item, st.shape.columns)
	st.shape.program = program
	if program == nil {
		return
	}
	var changed bool
	if st.unjudged {
		st.unjudged = false
		o := rules.Observation{
			Status: st.status, Values: st.values, Received: g.now,
			NextWithin: max(st.nextWithin-g.now.Sub(st.lastSeen), time.Millisecond),
		}
		e.scratch, changed = program.Judge(&st.machine, &o, e.scratch[:0])
	} else {
		e.scratch, changed = program.Tick(&st.machine, g.now, e.scratch[:0])
	}
	st.relevel(g.now)
	st.task.host.expect(st.machine.Due())
	e.settle(g, st, e.scratch, changed)
}
