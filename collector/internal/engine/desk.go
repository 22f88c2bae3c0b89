package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
)

// deskFor returns a customer's desk, claimed and made when it is the first time.
func (e *Engine) deskFor(customer string) (*deskOf, error) {
	if d := e.desks[customer]; d != nil {
		return d, nil
	}
	term, err := e.opt.Store.Claim(context.Background(), "customer/"+customer)
	if err != nil {
		return nil, fmt.Errorf("claiming the desk of customer %s: %w", customer, err)
	}
	d := &deskOf{Desk: desk.New(e.deskConfig(), customer), term: term}
	e.desks[customer] = d
	return d, nil
}

func (e *Engine) deskConfig() desk.Config {
	return desk.Config{Level: e.opt.Level}
}

// outcome is what the desk made of an event.
type outcome struct {
	desk.Effects
	Why string
}

// handle lets a customer's desk deal with an event and puts what follows in the
// group.
func (e *Engine) handle(g *group, customer string, ev desk.Event) (outcome, error) {
	d, err := e.deskFor(customer)
	if err != nil {
		return outcome{}, err
	}
	effects, err := d.Handle(g.now, &e.numbers, ev)
	if err != nil {
		return outcome{}, err
	}
	if err := e.effects(g, customer, effects); err != nil {
		return outcome{}, err
	}
	return outcome{Effects: effects, Why: whyText(effects.Why)}, nil
}

func whyText(why []desk.Why) string {
	lines := make([]string, len(why))
	for i, w := range why {
		lines[i] = w.Text
	}
	return strings.Join(lines, "\n")
}

// effects puts changed tickets, and what is to be told of them, in the group.
func (e *Engine) effects(g *group, customer string, f desk.Effects) error {
	g.customers[customer] = struct{}{}
	for _, in := range f.Incidents {
		if err := put(g, incidentsTable, customer, in.Number, in); err != nil {
			return err
		}
	}
	for _, p := range f.Problems {
		if err := put(g, problemsTable, customer, p.Number, p); err != nil {
			return err
		}
	}
	if len(f.Incidents)+len(f.Problems) > 0 {
		if err := put(g, countersTable, "", countersKey, e.numbers); err != nil {
			return err
		}
	}
	return e.tell(g, f.Notices)
}

func (e *Engine) tell(g *group, notices []desk.Notice) error {
	for _, n := range notices {
		told := n
		if e.opt.PublicURL != "" {
			told.Lines = append(slices.Clip(told.Lines), strings.TrimRight(e.opt.PublicURL, "/")+pageOf(&n))
		}
		for _, d := range e.opt.Router.Route(g.now, told) {
			w, err := d.Write()
			if err != nil {
				return fmt.Errorf("encoding a delivery: %w", err)
			}
			g.writes = append(g.writes, w)
			g.deliveries = append(g.deliveries, d)
		}
	}
	return nil
}

// pageOf is where the pages show what a notice tells of.
func pageOf(n *desk.Notice) string {
	if n.Problem != nil {
		return "/problems?state=all#" + n.Problem.Number
	}
	return "/incidents/" + n.Incident.Number
}

// note logs what should not happen while applying; the group goes on without it.
func (e *Engine) note(_ *group, err error) {
	if err != nil {
		e.log.Error("applying a result", "error", err)
	}
}

// Silence is judged on the sweep: a host is silent when nothing of it came for
// longer than its role and its last words allow.
func (e *Engine) silences(g *group) {
	for _, h := range e.hosts {
		if !h.RevokedAt.IsZero() || h.Pending || h.silent || !e.overdue(h, g.now) {
			continue
		}
		h.silent = true
		e.hostEvent(g, h, desk.HostSilent{
			Host: h.ID, HostName: h.Name, Site: h.Site, Role: string(h.Role),
			Since: h.mark.Seen, Announced: h.Goodbye,
		})
	}
}

func (e *Engine) overdue(h *host, now time.Time) bool {
	if h.session != nil && !h.session.out.isClosed() {
		return false
	}
	allowed := e.opt.ServerSilence
	switch h.Goodbye {
	case "shutdown", "reboot", "sleep", "upgrade":
		allowed = e.opt.AnnouncedSilence
	}
	// A collector that was away itself can't tell: the time counts from its start.
	last := h.mark.Seen
	if last.Before(e.started) {
		last = e.started
	}
	return now.Sub(last) > allowed
}

// silenceEnds notes that the host is heard of again.
func (e *Engine) silenceEnds(g *group, h *host) {
	if !h.silent {
		return
	}
	h.silent = false
	e.hostEvent(g, h, desk.HostBack{Host: h.ID})
}

func (e *Engine) hostEvent(g *group, h *host, ev desk.Event) {
	_, err := e.handle(g, h.Customer, ev)
	e.note(g, err)
}
