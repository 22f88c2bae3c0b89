package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/history"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Forecasts read days of history, so they are made now and then, one at a time.
const (
	forecastFirst = 2 * time.Minute
	forecastEvery = time.Hour
	// forecastPoints is how many stretches a history is read as: a multiple of what
	// the fit condenses it to.
	forecastPoints = 512
)

func (e *Engine) forecastLoop(ctx context.Context) {
	timer := time.NewTimer(forecastFirst)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := e.Forecast(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("making forecasts", "error", err)
		}
		timer.Reset(forecastEvery)
	}
}

// outlook is one forecast to be made.
type outlook struct {
	state    *state
	program  *rules.Program
	forecast *rules.Forecast
	of       history.Selection
}

// Forecast makes every forecast that applies, as is done by itself every hour.
func (e *Engine) Forecast(ctx context.Context) error {
	var errs []error
	for _, o := range e.outlooks() {
		if ctx.Err() != nil {
			break
		}
		now := time.Now()
		lines, err := e.opt.History.Points(ctx, o.of, now.Add(-o.forecast.Over), now, forecastPoints)
		if err != nil {
			// One history that can't be read leaves the others their forecasts.
			errs = append(errs, fmt.Errorf("reading the history of %s of host %s: %w", o.of.Metric, o.of.Host, err))
			continue
		}
		errs = append(errs, e.do(ctx, func(g *group) error { return e.foresee(g, o, pointsOf(lines)) }))
	}
	return errors.Join(errs...)
}

func (e *Engine) outlooks() []outlook {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []outlook
	for _, h := range e.hosts {
		for _, t := range h.tasks {
			for _, st := range t.states {
				out = append(out, outlooksOf(st)...)
			}
		}
	}
	return out
}

func outlooksOf(st *state) []outlook {
	if st.shape.program == nil {
		return nil
	}
	var out []outlook
	h := st.task.host
	for _, f := range st.shape.program.Forecasts() {
		if f.Applies(st.shape.program, &st.machine) {
			out = append(out, outlook{st, st.shape.program, f, history.Selection{
				Customer: h.Customer, Site: h.Site, Host: h.Name,
				Metric: history.MetricName(st.task.check, f.Metric), Check: st.task.label(), Item: st.item,
			}})
		}
	}
	return out
}

// label is the check's label in metrics.
func (t *task) label() string {
	if t.instance == "" {
		return t.check
	}
	return t.check + "/" + t.instance
}

func pointsOf(lines []history.Line) []rules.Point {
	if len(lines) == 0 {
		return nil
	}
	out := make([]rules.Point, len(lines[0].Points))
	for i, p := range lines[0].Points {
		out[i] = rules.Point{At: p.Time, Value: p.Mean}
	}
	return out
}

// foresee judges a history, and lets the desk know what it says.
func (e *Engine) foresee(g *group, o outlook, points []rules.Point) error {
	st := o.state
	if st.shape.program != o.program || st.task.states[st.item] != st {
		return nil // changed or gone while its history was read
	}
	transitions, changed := st.shape.program.Forecast(o.forecast, &st.machine, points, g.now, e.scratch[:0])
	e.scratch = transitions
	if changed || len(transitions) > 0 {
		st.relevel(g.now)
		e.note(g, e.putState(g, st))
	}
	result := o.forecast.Eval(points, g.now)
	for _, tr := range transitions {
		decision, err := e.handle(g, st.task.host.Customer, foreseen(st, o.forecast, &tr, &result))
		if err != nil {
			return err
		}
		if err := e.putTransition(g, st, tr, decision.Why); err != nil {
			return err
		}
	}
	return nil
}

// foreseen is the event that a forecast's transition is to the desk.
func foreseen(st *state, f *rules.Forecast, tr *rules.Transition, r *rules.ForecastResult) desk.Event {
	h, rule := st.task.host, f.Rule()
	subject := h.subject(st.task, st.item)
	if tr.To == rules.OK {
		return desk.ForecastCleared{Subject: subject, Rule: tr.Rule, Vanished: tr.Vanished, Why: tr.Why}
	}
	return desk.ForecastRaised{
		Subject: subject, HostName: h.Name, Rule: tr.Rule, Title: rule.TitleFor(subject, h.Name),
		Category: rule.Category, Impact: rule.Impact, Urgency: rule.Urgency, ReachedAt: r.ReachedAt, Confidence: r.Confidence, Why: tr.Why,
	}
}
