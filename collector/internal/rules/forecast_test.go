package rules_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/rules"
)

const day = 24 * time.Hour

const fullForecast = `
forecasts:
  - name: full
    title: "{{item}} will be full"
    metric: free_bytes
    limit: 0
    over: 14d
    min_history: 2d
    within: 30d
    confidence: 0.8
    when: free_bytes < 0.5 * size_bytes
    category: hardware
    impact: medium
    urgency: low
`

// series makes points up to start from a function of the days since the first, in GiB.
func series(length, every time.Duration, f func(day float64) float64) []rules.Point {
	var points []rules.Point
	for at := start.Add(-length); !at.After(start); at = at.Add(every) {
		points = append(points, rules.Point{At: at, Value: f(at.Sub(start.Add(-length)).Hours()/24) * gib})
	}
	return points
}

func TestForecastOfSyntheticDisks(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	noise := func(size float64) float64 { return size * r.NormFloat64() }
	cases := []struct {
		name    string
		length  time.Duration
		f       func(day float64) float64
		verdict rules.Verdict
		days    float64 // until full, ± 20 %
	}{
		{"steady growth", 14 * day, func(d float64) float64 { return 48 - 2*d }, rules.Reaches, 10},
		{"noisy growth", 14 * day, func(d float64) float64 { return 48 - 2*d + noise(2) }, rules.Reaches, 10},
		{"growth with a daily rotation", 14 * day, func(d float64) float64 { return 48 - 2*d - 1.5*math.Mod(d, 1) }, rules.Reaches, 9.5},
		{"slow growth", 14 * day, func(d float64) float64 { return 48 - 0.1*d }, rules.Later, 466},
		{"just installed", 1 * day, func(d float64) float64 { return 48 - 2*d }, rules.NoHistory, 0},
		{"sawtooth of log rotation", 14 * day, func(d float64) float64 { return 40 - 30*math.Mod(d, 1) }, rules.Steady, 0},
		{"rotation every five days", 14 * day, func(d float64) float64 { return 40 - 5*math.Mod(d, 5) }, rules.Steady, 4},
		{"rotation that comes too late", 14 * day, func(d float64) float64 { return 24 - 5*math.Mod(d, 5) }, rules.Reaches, 0.8},
		{"one clean-up, growth goes on", 14 * day, func(d float64) float64 {
			if d < 8 {
				return 30 - 3*d
			}
			return 60 - 3*d
		}, rules.Reaches, 6},
		{"clean-up yesterday", 14 * day, func(d float64) float64 {
			if d < 13 {
				return 45 - 3*d
			}
			return 45
		}, rules.Restarted, 0},
		{"flat", 14 * day, func(float64) float64 { return 20 }, rules.Steady, 0},
		{"flat and noisy", 14 * day, func(float64) float64 { return 20 + noise(3) }, rules.Steady, 0},
		{"emptying", 14 * day, func(d float64) float64 { return 20 + 0.5*d }, rules.Steady, 0},
		{"filled last week, then stopped", 14 * day, func(d float64) float64 { return 40 - 3*min(d, 9) }, rules.Steady, 0},
		{"full already", 14 * day, func(d float64) float64 { return max(0, 20-2*d) }, rules.Reached, 0},
	}
	f := newState(t, fullForecast).program.Forecasts()[0]
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res := f.Eval(series(c.length, 10*minute, c.f), start)
			days := 0.0
			if !res.ReachedAt.IsZero() {
				days = res.ReachedAt.Sub(start).Hours() / 24
			}
			if res.Verdict != c.verdict || math.Abs(days-c.days) > 0.2*c.days {
				t.Errorf("%s in %.1f days, want %s in %.1f\n%+v", res.Verdict, days, c.verdict, c.days, res)
			}
			if res.Why == "" {
				t.Error("no reason is given")
			}
		})
	}
}

func TestForecastWhy(t *testing.T) {
	f := newState(t, fullForecast).program.Forecasts()[0]
	got := f.Eval(series(14*day, time.Hour, func(d float64) float64 { return 48 - 2*d }), start).Why
	const wanted = "free_bytes falls by 2.0 GiB a day (R² 1.00 over 14 d): from 20 GiB it reaches 0 B in 10 d, on 2026-03-12"
	if got != wanted {
		t.Errorf("why:\n%s\nwant:\n%s", got, wanted)
	}
}

func TestForecastIsPureAndTakesAnyOrder(t *testing.T) {
	f := newState(t, fullForecast).program.Forecasts()[0]
	rapid.Check(t, func(t *rapid.T) {
		perDay := rapid.Float64Range(-5, 5).Draw(t, "per day")
		jitter := rapid.Float64Range(0, 5).Draw(t, "noise")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		points := series(14*day, time.Hour, func(d float64) float64 { return 80 + perDay*d + jitter*r.NormFloat64() })
		res := f.Eval(points, start)
		if res.Confidence < 0 || res.Confidence > 1 || math.IsNaN(res.PerDay) {
			t.Fatalf("%+v", res)
		}
		if res.Verdict == rules.Reaches && (res.PerDay >= 0 || res.ReachedAt.Before(start) || res.ReachedAt.After(start.Add(30*day))) {
			t.Fatalf("%+v", res)
		}
		r.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
		if again := f.Eval(points, start); again != res {
			t.Fatalf("shuffled: %+v, before %+v", again, res)
		}
	})
}

// TestSawtoothNeverAlarms: what is rotated again and again in good time is no trend.
func TestSawtoothNeverAlarms(t *testing.T) {
	f := newState(t, fullForecast).program.Forecasts()[0]
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.Float64Range(0.05, 4.5).Draw(t, "period in days")
		height := rapid.Float64Range(5, 25).Draw(t, "height")
		phase := rapid.Float64Range(0, 4.5).Draw(t, "phase")
		points := series(14*day, 30*minute, func(d float64) float64 { return 40 - height*math.Mod(d+phase, period)/period })
		if res := f.Eval(points, start); res.Verdict == rules.Reaches {
			t.Fatalf("%+v", res)
		}
	})
}

func (s *state) forecast(f func(day float64) float64) []string {
	s.t.Helper()
	points := series(14*day, time.Hour, f)
	for i := range points {
		points[i].At = points[i].At.Add(s.now.Sub(start))
	}
	var out []rules.Transition
	out, s.changed = s.program.Forecast(s.program.Forecasts()[0], &s.machine, points, s.now, nil)
	return s.note(out)
}

func TestForecastMakesAProblemAndEndsItWithHysteresis(t *testing.T) {
	s := newState(t, fullForecast)
	s.next = 2 * time.Hour
	f := s.program.Forecasts()[0]
	falls := func(perDay float64) func(float64) float64 {
		return func(d float64) float64 { return 20 + perDay*(14-d) }
	}
	s.ok(disk(60))
	if f.Applies(s.program, &s.machine) {
		t.Error("there is room enough")
	}
	want(t, s.forecast(falls(1)))
	s.ok(disk(20))
	if !f.Applies(s.program, &s.machine) {
		t.Error("there is little room")
	}
	want(t, s.forecast(falls(1)), "full ok→warning")
	if r := s.program.Rule("full"); !r.OpensAt(rules.Warning) || r.Makes != "problem" || !r.Forecast() {
		t.Errorf("%+v", r)
	}
	if why := s.all[0].Why; !strings.Contains(why, "reaches 0 B in 20 d") {
		t.Errorf("why %q", why)
	}
	want(t, s.forecast(falls(0.5))) // 40 days: less than half as long again as 30
	hour := func() { s.now = s.now.Add(time.Hour - minute); s.ok(disk(20)) }
	for range 23 {
		hour()
		want(t, s.forecast(falls(0.1)))
	}
	hour()
	want(t, s.forecast(falls(1))) // it was a lull
	for range 24 {
		hour()
		want(t, s.forecast(falls(0.1)))
	}
	hour()
	want(t, s.forecast(falls(0.1)), "full warning→ok")
}
