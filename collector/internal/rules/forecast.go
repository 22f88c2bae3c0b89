package rules

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// Point is one figure of history.
type Point struct {
	At    time.Time
	Value float64
}

// Verdict is what a forecast says.
type Verdict string

// The verdicts. Reaches and Reached are what makes a problem.
const (
	NoHistory Verdict = "no-history" // too little is known
	Restarted Verdict = "restarted"  // a clean-up, and too little is known since
	Steady    Verdict = "steady"     // no trend towards the limit that can be relied on
	Later     Verdict = "later"      // the limit will be reached, but not soon
	Reaches   Verdict = "reaches"    // the limit will be reached within the time
	Reached   Verdict = "reached"    // the limit is reached already
)

// ForecastResult is what a forecast makes of a figure's history.
type ForecastResult struct {
	Verdict Verdict `json:"verdict"`
	// ReachedAt is when the limit will be reached; zero when there is no saying.
	ReachedAt time.Time `json:"reached_at,omitzero"`
	// PerDay is the change of the figure a day, Confidence the fit's R² (0 to 1).
	PerDay     float64 `json:"per_day"`
	Confidence float64 `json:"confidence"`
	// From is the start of what was fitted, after the newest clean-up.
	From time.Time `json:"from,omitzero"`
	Why  string    `json:"why"`
}

// Forecast is a rule over history, as it applies to one subject.
type Forecast struct {
	Name, Metric string
	// Limit is what the metric must not reach within Within, by a fit over Over of
	// which at least MinHistory must be there with a Confidence (R², 0 to 1).
	Limit                    float64
	Over, MinHistory, Within time.Duration
	Confidence               float64

	unit string
	rule *Rule
	when *condition
}

// A problem made by a forecast ends when the limit has gone farther than easing times
// the time it must not be reached in, or the trend is gone, and stays so for a day.
const (
	easing           = 1.5
	forecastClearFor = 24 * time.Hour
)

func (c *chapter) forecastRule(name string, m *merged, b *binder) *Rule {
	s := &m.forecast
	r := &Rule{
		Name: name, Title: s.Title, Category: s.Category, Impact: s.Impact, Urgency: s.Urgency,
		Opens: "warning", Makes: "problem", clearHold: forecastClearFor.Milliseconds(), runs: 1,
	}
	f := &Forecast{
		Name: name, Metric: s.Metric, Limit: s.Limit, Over: s.Over.D(), MinHistory: s.MinHistory.D(),
		Within: s.Within.D(), Confidence: s.Confidence, rule: r,
	}
	if spec := c.spec.Metric(s.Metric); spec != nil {
		f.unit = spec.Unit
	}
	if !m.disabled {
		f.when = b.condition(c.conditions[s.When])
	}
	r.forecast = f
	return r
}

// Rule is what the problem is made with.
func (f *Forecast) Rule() *Rule { return f.rule }

// String says in words what is forecast.
func (f *Forecast) String() string {
	text := fmt.Sprintf("%s reaches %s within %s, by the trend of %s", f.Metric, format(f.Limit, f.unit),
		checks.Duration(f.Within), checks.Duration(f.Over))
	if f.when != nil {
		text += ", when " + f.when.text
	}
	return text
}

// Applies says whether history is worth looking at: the forecast's condition holds
// for the newest result, or what it once said still stands.
func (f *Forecast) Applies(p *Program, m *Machine) bool {
	return f.holds(p, m) == yes || m.find(f.Name) != nil
}

func (f *Forecast) holds(p *Program, m *Machine) tri {
	if m.program != p || m.fresh == Stale || m.received == 0 {
		return maybe
	}
	if f.when == nil {
		return yes
	}
	fr := p.frame(m, checks.Status(m.status), m.received)
	return f.when.judge(&fr)
}

// Forecast judges a figure's history, oldest first, as Judge does a result: what it
// tells is a Warning of the forecast's rule. Call it now and then, when Applies.
func (p *Program) Forecast(f *Forecast, m *Machine, points []Point, now time.Time, out []Transition) ([]Transition, bool) {
	j := judging{p: p, m: m, now: now.UnixMilli(), status: checks.Status(m.status), out: out}
	j.bind()
	st := m.of(f.rule)
	raised := st != nil && st.Level != OK
	t := f.holds(p, m)
	if t == yes {
		res := f.Eval(points, now)
		t, j.outlook = f.raises(&res, now, raised), res.Why
	}
	if st == nil {
		if t != yes {
			return j.end()
		}
		st = m.state(f.rule)
	}
	fr := p.frame(m, j.status, j.now)
	j.observe(st, no, t, &fr)
	j.advance(st)
	j.sweep()
	return j.end()
}

// raises says whether a result makes a problem or, when there is one, keeps it.
func (f *Forecast) raises(res *ForecastResult, now time.Time, raised bool) tri {
	switch res.Verdict {
	case Reaches, Reached:
		return yes
	case NoHistory:
		return maybe
	case Later:
		limit := now.Add(time.Duration(easing * float64(f.Within)))
		if raised && !res.ReachedAt.IsZero() && res.ReachedAt.Before(limit) {
			return yes
		}
	}
	return no
}

// Eval makes of a figure's history, oldest first, when it will reach the limit. It
// is pure: the same points and time give the same result.
//
// The points are cut into at most 64 equal spans of time, each taken at its median,
// so that a rotation of logs within one of them does not show. A step away from the
// limit that is far larger than the others is a clean-up: what was before it is
// forgotten, and when several show that it is done regularly (rotated logs), a limit
// that lies beyond the next one is not reached. The slope is that of Theil and Sen, the median of the slopes between all
// pairs, which a third of outliers does not move
// (https://en.wikipedia.org/wiki/Theil%E2%80%93Sen_estimator); the confidence is the
// coefficient of determination of that line. The newest third must still go the same
// way, since what filled a disk last week may have ended.
func (f *Forecast) Eval(points []Point, now time.Time) ForecastResult {
	known := usable(points, now.Add(-f.Over), now)
	if short, ok := f.tooShort(known); ok {
		return short
	}
	newest := known[len(known)-1].Value
	dir := f.direction(known)
	if (f.Limit-newest)*dir <= 0 {
		return ForecastResult{
			Verdict: Reached, ReachedAt: now, From: known[0].At,
			Why: fmt.Sprintf("%s is %s and has reached %s", f.Metric, format(newest, f.unit), format(f.Limit, f.unit)),
		}
	}
	found := cleanUps(condense(known), dir)
	if len(found) > 0 {
		known = usable(known, found[len(found)-1], now)
		if short, ok := f.tooShort(known); ok {
			short.Verdict, short.Why = Restarted, "after a clean-up: "+short.Why
			return short
		}
	}
	res := f.extrapolate(known, dir, now)
	if next := nextCleanUp(found); res.Verdict == Reaches && now.Before(next) && res.ReachedAt.After(next) {
		res.Verdict = Steady
		res.Why += "; but it has been cleaned up regularly, and will be again by " + next.UTC().Format("2006-01-02")
	}
	return res
}

// tooShort says that there are not enough points, or that they span too little time.
func (f *Forecast) tooShort(points []Point) (ForecastResult, bool) {
	res := ForecastResult{Verdict: NoHistory}
	if len(points) < minBuckets {
		res.Why = fmt.Sprintf("%d points of history; at least %d are needed", len(points), minBuckets)
		return res, true
	}
	res.From = points[0].At
	have := points[len(points)-1].At.Sub(points[0].At)
	// The first and the newest point may each lack up to a part of a run's interval.
	if slack := have / time.Duration(len(points)); have+slack < f.MinHistory {
		res.Why = fmt.Sprintf("%s of history; at least %s is needed", span(have.Milliseconds()), checks.Duration(f.MinHistory))
		return res, true
	}
	return res, false
}

// direction is 1 when the figure comes from below the limit and -1 from above.
func (f *Forecast) direction(points []Point) float64 {
	if medianOf(points[:max(1, len(points)/8)]).Value < f.Limit {
		return 1
	}
	return -1
}

func (f *Forecast) extrapolate(points []Point, dir float64, now time.Time) ForecastResult {
	buckets := condense(points)
	newest := buckets[len(buckets)-1].Value
	l := fit(buckets)
	res := ForecastResult{
		Verdict: Steady, PerDay: l.slope * 86400, Confidence: l.confidence(buckets), From: points[0].At,
	}
	moves := f.moves(&res, now)
	switch {
	case len(buckets) < minBuckets:
		res.Verdict, res.Why = NoHistory, fmt.Sprintf("history has gaps: %d spans are known; at least %d are needed", len(buckets), minBuckets)
		return res
	case l.slope*dir <= 0:
		res.Why = moves + ": it does not approach " + format(f.Limit, f.unit)
		return res
	case res.Confidence < f.Confidence:
		res.Why = fmt.Sprintf("%s: too uncertain, R² must be %.2f", moves, f.Confidence)
		return res
	case fit(buckets[len(buckets)*2/3:]).slope*dir < l.slope*dir/4:
		res.Why = moves + ", but not any longer"
		return res
	}
	left := (f.Limit - l.at(now)) / l.slope
	left = max(0, min(left, (f.Limit-newest)/l.slope))
	if left > 100*365*86400 {
		res.Verdict, res.Why = Later, moves+": "+format(f.Limit, f.unit)+" is more than a century away"
		return res
	}
	res.ReachedAt = now.Add(time.Duration(left * float64(time.Second)))
	res.Verdict = Later
	if res.ReachedAt.Before(now.Add(f.Within)) {
		res.Verdict = Reaches
	}
	res.Why = fmt.Sprintf("%s: from %s it reaches %s in %s, on %s", moves, format(newest, f.unit), format(f.Limit, f.unit),
		span(int64(left*1000)), res.ReachedAt.UTC().Format("2006-01-02"))
	return res
}

func (f *Forecast) moves(res *ForecastResult, now time.Time) string {
	word, rate := "rises", res.PerDay
	if rate < 0 {
		word, rate = "falls", -rate
	}
	return fmt.Sprintf("%s %s by %s a day (R² %.2f over %s)", f.Metric, word, format(rate, f.unit), res.Confidence,
		span(now.Sub(res.From).Milliseconds()))
}
