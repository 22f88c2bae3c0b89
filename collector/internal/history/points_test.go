package history

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks"
)

func TestPoints(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	end := time.UnixMilli(now())
	other := disk
	other.Customer = "globex"
	in := s.Series("free_bytes", disk, checks.Label{Name: "kind", Value: "ssd"})
	out := s.Series("free_bytes", other)
	samples := map[int64]float64{}
	for i := range 100 {
		samples[end.Add(-time.Duration(i)*time.Minute).UnixMilli()] = float64(i)
	}
	write(t, s, in, samples)
	write(t, s, out, samples)

	of := Selection{Customer: "acme", Metric: MetricName("disk", "free_bytes")}
	lines, err := s.Points(t.Context(), of, end.Add(-9*time.Minute), end, 0)
	if err != nil || len(lines) != 1 || len(lines[0].Points) != 10 {
		t.Fatalf("%v, %v; want one line of ten points", lines, err)
	}
	if p := lines[0].Points[0]; !p.Time.Equal(end.Add(-9*time.Minute)) || p.Mean != 9 || lines[0].Labels["customer"] != "acme" {
		t.Errorf("first point %+v of %v", p, lines[0].Labels)
	}
	lines, err = s.Points(t.Context(), of, end.Add(-99*time.Minute), end, 10)
	if err != nil || len(lines) != 1 || len(lines[0].Points) != 10 {
		t.Fatalf("%v, %v; want one line of ten points", lines, err)
	}
	if p := lines[0].Points[9]; p != (Point{Time: end, Min: 0, Mean: 4.5, Max: 9, Samples: 10}) {
		t.Errorf("last point %+v", p)
	}
	for name, of := range map[string]Selection{
		"no customer":    {Metric: of.Metric},
		"no metric":      {Customer: "acme"},
		"other host":     {Customer: "acme", Metric: of.Metric, Host: "h2"},
		"other label":    {Customer: "acme", Metric: of.Metric, Labels: map[string]string{"kind": "hdd"}},
		"tries to widen": {Customer: "acme", Metric: of.Metric, Labels: map[string]string{"customer": "globex"}},
	} {
		if lines, err := s.Points(t.Context(), of, end.Add(-time.Hour), end, 0); err != nil || len(lines) != 0 {
			t.Errorf("%s: %v, %v; want nothing", name, lines, err)
		}
	}
}

// TestThin holds that thinning keeps number, extremes and mean of the samples.
func TestThin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := time.Unix(1_700_000_000, 0)
		seconds := rapid.SliceOfNDistinct(rapid.IntRange(0, 5000), 1, 300, rapid.ID[int]).Draw(t, "seconds")
		n := rapid.IntRange(1, 50).Draw(t, "n")
		present := map[int]bool{}
		for _, s := range seconds {
			present[s] = true
		}
		var points []Point
		sum := 0.0
		for s := range 5001 {
			if present[s] {
				v := float64(s % 17)
				points = append(points, Point{Time: from.Add(time.Duration(s) * time.Second), Min: v, Mean: v, Max: v, Samples: 1})
				sum += v
			}
		}
		thinned := thin(points, from, from.Add(5000*time.Second), n)
		samples, total := 0, 0.0
		for _, p := range thinned {
			samples += p.Samples
			total += p.Mean * float64(p.Samples)
			if p.Min > p.Mean+1e-9 || p.Mean > p.Max+1e-9 {
				t.Fatalf("%+v", p)
			}
		}
		if len(thinned) > n || samples != len(points) || total-sum > 1e-6 || sum-total > 1e-6 {
			t.Fatalf("%d points of %d samples and sum %v; want at most %d, %d and %v", len(thinned), samples, total, n, len(points), sum)
		}
	})
}
