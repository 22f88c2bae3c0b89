package rules_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// diskRules are those of the disk check: three rules over five figures.
const diskRules = spaceRule + `
  - name: low
    title: Low
    warning: a < 0.10
    critical: a < 0.05
  - name: readonly
    title: Read-only
    critical: flag == 1 && prev("flag") == 0
    clear: flag == 0
`

// BenchmarkJudge judges one result by three rules (five conditions).
func BenchmarkJudge(b *testing.B) {
	row := func(free float64) []float64 {
		return values{"free_bytes": free * gib, "size_bytes": 100 * gib, "a": 0.5, "flag": 0}.row()
	}
	b.Run("repeat", func(b *testing.B) { benchmarkJudge(b, [][]float64{row(50)}) })
	b.Run("steady", func(b *testing.B) { benchmarkJudge(b, [][]float64{row(50), row(49)}) })
	b.Run("breached", func(b *testing.B) { benchmarkJudge(b, [][]float64{row(1), row(2)}) })
	b.Run("transition", func(b *testing.B) { benchmarkJudge(b, [][]float64{row(50), row(1)}) })
	mixed := make([][]float64, 1000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range mixed {
		mixed[i] = row(40 + 10*r.Float64())
	}
	mixed[500] = row(1)
	b.Run("mixed", func(b *testing.B) { benchmarkJudge(b, mixed) })
}

func benchmarkJudge(b *testing.B, rows [][]float64) {
	s := newState(b, diskRules)
	o := rules.Observation{Status: checks.OK, Received: start, NextWithin: 2 * minute}
	var out []rules.Transition
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		o.Values = rows[i%len(rows)]
		o.Received = o.Received.Add(time.Hour) // far apart, so that nothing flaps
		out, _ = s.program.Judge(&s.machine, &o, out[:0])
		i++
	}
}

func BenchmarkProgram(b *testing.B) {
	bk, cols := book(b, diskRules), columns()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bk.Program(subject, cols); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForecast(b *testing.B) {
	f := newState(b, fullForecast).program.Forecasts()[0]
	points := series(14*24*time.Hour, 5*minute, func(day float64) float64 { return 60 - 2*day })
	b.ReportAllocs()
	for b.Loop() {
		f.Eval(points, start)
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	s := newState(t, diskRules)
	rows := [][]float64{disk(50).row(), disk(49).row()}
	o := rules.Observation{Received: start, NextWithin: 2 * minute}
	var out []rules.Transition
	i := 0
	allocs := testing.AllocsPerRun(1000, func() {
		o.Values, o.Received = rows[i%2], o.Received.Add(minute)
		out, _ = s.program.Judge(&s.machine, &o, out[:0])
		i++
	})
	if allocs != 0 {
		t.Errorf("%g allocations a result", allocs)
	}
}
