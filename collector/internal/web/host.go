package web

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

type hostData struct {
	engine.HostDetail
	Groups      []group
	Transitions []engine.TransitionView
	Ranges      []timeRange
	Range       timeRange
	// Live selects what is replaced when the page refreshes itself.
	Live string
}

// group is a kind of check, or one instance of it, with its states.
type group struct {
	// Name is the check's label in metrics: http, or http/webshop.
	Name, ID string
	Level    rules.Level
	States   []stateRow
	// Graph is what can be drawn, as JSON for the script; empty if nothing can.
	Graph   string
	Figures []figure
}

// figure is a metric that can be drawn.
type figure struct {
	Metric string `json:"metric"`
	Label  string `json:"label"`
	Unit   string `json:"unit"`
	Type   string `json:"type"`
	// name is the metric's own, without the check's.
	name string
}

type stateRow struct {
	engine.StateView
	ID    string
	Spark *spark
	// First are the figures that a row has room for; More the others.
	First, More []engine.MetricView
}

type timeRange struct {
	Name, Link string
	Length     time.Duration
}

const (
	figuresInRow   = 6
	sparkPoints    = 60
	maxSparks      = 60
	maxTransitions = 50
)

func ranges() []timeRange {
	return []timeRange{
		{Name: "1h", Length: time.Hour}, {Name: "6h", Length: 6 * time.Hour}, {Name: "24h", Length: 24 * time.Hour},
		{Name: "7d", Length: 7 * 24 * time.Hour}, {Name: "30d", Length: 30 * 24 * time.Hour},
	}
}

func (s *site) host(v *visit) error {
	h, err := s.Backend.Host(v.r.Context(), v.in, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	d := hostData{HostDetail: h, Ranges: ranges()}
	d.Range = d.Ranges[0]
	for i := range d.Ranges {
		d.Ranges[i].Link = v.with("range", d.Ranges[i].Name)
		if d.Ranges[i].Name == v.r.URL.Query().Get("range") {
			d.Range = d.Ranges[i]
		}
	}
	d.Groups = groups(h.Checks)
	if err := s.sparks(v.r.Context(), &d, v.now); err != nil {
		// The host's present state does not wait for its past.
		s.Logger.Warn("A page goes without small graphs", "host", h.ID, "error", err)
	}
	since := v.now.Add(-30 * 24 * time.Hour)
	if d.Transitions, err = s.Backend.Transitions(v.r.Context(), v.in, h.ID, since, maxTransitions); err != nil {
		return fmt.Errorf("reading the transitions of host %s: %w", h.ID, err)
	}
	d.Live = live(d.Groups)
	return s.render(v, http.StatusOK, "host", "hosts", h.Name, d)
}

// live names the parts of the page that are replaced, each by its id.
func live(all []group) string {
	ids := []string{"#host-head", "#host-facts", "#transitions"}
	for i := range all {
		ids = append(ids, "#head-"+all[i].ID, "#states-"+all[i].ID)
	}
	return strings.Join(ids, ",")
}

// groups puts states under their checks. They come in the order of checks.
func groups(states []engine.StateView) []group {
	var out []group
	for i := range states {
		st := states[i]
		name := st.Check
		if st.Instance != "" {
			name += "/" + st.Instance
		}
		if len(out) == 0 || out[len(out)-1].Name != name {
			out = append(out, group{Name: name, ID: fmt.Sprintf("c%d", len(out))})
		}
		g := &out[len(out)-1]
		if severity(st.Level) > severity(g.Level) {
			g.Level = st.Level
		}
		g.add(st)
	}
	for i := range out {
		out[i].describe()
	}
	return out
}

func (g *group) add(st engine.StateView) {
	r := stateRow{StateView: st, ID: fmt.Sprintf("%s-%d", g.ID, len(g.States))}
	shown := slices.DeleteFunc(slices.Clone(st.Metrics), func(m engine.MetricView) bool { return m.Unit == "info" })
	cut := min(len(shown), figuresInRow)
	r.First, r.More = shown[:cut], shown[cut:]
	g.States = append(g.States, r)
	for _, m := range shown {
		if !slices.ContainsFunc(g.Figures, func(f figure) bool { return f.Metric == m.Exposed }) {
			g.Figures = append(g.Figures, figure{Metric: m.Exposed, Label: metricLabel(m.Name), name: m.Name, Unit: m.Unit, Type: m.Type})
		}
	}
}

// describe puts the figure first that says most about the check.
func (g *group) describe() {
	slices.SortStableFunc(g.Figures, func(a, b figure) int { return telling(b) - telling(a) })
	if len(g.Figures) == 0 {
		return
	}
	text, err := json.Marshal(g.Figures)
	if err == nil { // strings always encode
		g.Graph = string(text)
	}
}

// telling ranks figures: parts of a whole and times tell more than totals, and sizes
// that hardly change tell least.
func telling(f figure) int {
	switch {
	case f.Type == "counter":
		return 2
	case strings.Contains(f.name, "inode") || strings.Contains(f.name, "mode"):
		return 2
	case f.Unit == "ratio":
		return 5
	case f.Unit == "seconds" || f.Unit == "celsius":
		return 4
	case f.Unit == "bytes" && !strings.Contains(f.name, "size") && !strings.Contains(f.name, "total"):
		return 3
	case f.Unit == "boolean":
		return 0
	}
	return 1
}

// sparks draws the most telling figure of each state.
func (s *site) sparks(ctx context.Context, d *hostData, now time.Time) error {
	if s.History == nil {
		return nil
	}
	left := maxSparks
	for i := range d.Groups {
		g := &d.Groups[i]
		if len(g.Figures) == 0 || g.Figures[0].Type == "counter" {
			continue
		}
		for n := range g.States {
			if left--; left < 0 {
				return nil
			}
			from := now.Add(-d.Range.Length)
			points, err := s.History.Points(ctx, d.Customer, g.Figures[0].Metric, d.Name, g.Name, g.States[n].Item, from, now, sparkPoints)
			if err != nil {
				return fmt.Errorf("reading the history of %s on %s: %w", g.Name, d.ID, err)
			}
			g.States[n].Spark = drawSpark(points, from, now)
			if g.States[n].Spark != nil {
				g.States[n].Spark.Of = g.Figures[0].Label
			}
		}
	}
	return nil
}

// spark is a small graph: lines in a box of sparkWidth by sparkHeight.
type spark struct {
	Of    string
	Lines []string
	X, Y  string // of the newest point
}

const (
	sparkWidth  = 120
	sparkHeight = 26
)

// drawSpark scales points into the box; nothing is drawn over a gap.
func drawSpark(points []Point, from, to time.Time) *spark {
	points = slices.DeleteFunc(points, func(p Point) bool { return math.IsNaN(p.Value) || math.IsInf(p.Value, 0) })
	if len(points) < 2 {
		return nil
	}
	low, high := points[0].Value, points[0].Value
	for _, p := range points {
		low, high = min(low, p.Value), max(high, p.Value)
	}
	if high == low {
		low, high = low-1, high+1
	}
	at := func(p Point) (x, y string) {
		fx := float64(p.Time.Sub(from)) / float64(to.Sub(from)) * sparkWidth
		fy := sparkHeight - 2 - (p.Value-low)/(high-low)*(sparkHeight-4)
		return fmt.Sprintf("%.1f", fx), fmt.Sprintf("%.1f", fy)
	}
	s := &spark{}
	gap := max(4*to.Sub(from)/sparkPoints, 3*usualSpacing(points))
	var line strings.Builder
	for i, p := range points {
		if i > 0 && p.Time.Sub(points[i-1].Time) > gap {
			s.Lines = append(s.Lines, line.String())
			line.Reset()
		}
		x, y := at(p)
		fmt.Fprintf(&line, "%s,%s ", x, y)
		s.X, s.Y = x, y
	}
	s.Lines = append(s.Lines, line.String())
	return s
}

// usualSpacing is the median time from one point to the next.
func usualSpacing(points []Point) time.Duration {
	all := make([]time.Duration, 0, len(points))
	for i := 1; i < len(points); i++ {
		all = append(all, points[i].Time.Sub(points[i-1].Time))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
