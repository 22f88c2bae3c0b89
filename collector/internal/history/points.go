package history

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Selection chooses series. Customer and Metric must be given; without a customer
// nothing is found. Of the other fields, an empty one chooses all.
type Selection struct {
	Customer string
	// Metric is the whole name, as MetricName gives it.
	Metric     string
	Site, Host string
	// Check is as the label is: http, or http/webshop.
	Check string
	Item  string
	// Labels are the metric's own.
	Labels map[string]string
}

func (s Selection) matchers() []*labels.Matcher {
	equal := func(name, value string) *labels.Matcher {
		return labels.MustNewMatcher(labels.MatchEqual, name, value)
	}
	all := []*labels.Matcher{equal(model.MetricNameLabel, s.Metric), equal("customer", s.Customer)}
	for name, value := range map[string]string{"site": s.Site, "host": s.Host, "check": s.Check, "item": s.Item} {
		if value != "" {
			all = append(all, equal(name, value))
		}
	}
	for name, value := range s.Labels {
		all = append(all, equal(name, value))
	}
	return all
}

// Point is a sample, or several samples of a stretch of time taken together.
type Point struct {
	// Time is that of the newest sample.
	Time           time.Time
	Min, Mean, Max float64
	// Samples is how many there were.
	Samples int
}

// Line is the points of one series, oldest first.
type Line struct {
	// Labels are those of the series, __name__ and customer too.
	Labels map[string]string
	Points []Point
}

// Points returns what the chosen series hold from one time to another, both included,
// by the text of their labels. A series with more than maxPoints samples is cut into
// that many stretches of equal length, and each with samples gives one point; with
// maxPoints 0 every sample is a point.
func (s *Store) Points(ctx context.Context, of Selection, from, to time.Time, maxPoints int) ([]Line, error) {
	if of.Customer == "" || of.Metric == "" || to.Before(from) {
		return nil, nil
	}
	q, err := s.Querier(from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer q.Close()
	hints := &storage.SelectHints{Start: from.UnixMilli(), End: to.UnixMilli()}
	set := q.Select(ctx, true, hints, of.matchers()...)
	var lines []Line
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		points, err := readPoints(it)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", set.At().Labels(), err)
		}
		if maxPoints > 0 && len(points) > maxPoints {
			points = thin(points, from, to, maxPoints)
		}
		lines = append(lines, Line{Labels: copyLabels(set.At().Labels()), Points: points})
	}
	if set.Err() != nil {
		return nil, fmt.Errorf("reading history: %w", set.Err())
	}
	return lines, nil
}

func readPoints(it chunkenc.Iterator) ([]Point, error) {
	var points []Point
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind != chunkenc.ValFloat {
			continue
		}
		if at, v := it.At(); !math.IsNaN(v) {
			points = append(points, Point{Time: time.UnixMilli(at), Min: v, Mean: v, Max: v, Samples: 1})
		}
	}
	return points, it.Err()
}

// thin joins the points of each of n stretches between two times.
func thin(points []Point, from, to time.Time, n int) []Point {
	width := to.Sub(from)/time.Duration(n) + 1
	thinned := make([]Point, 0, n)
	last := time.Duration(-1)
	for _, p := range points {
		stretch := p.Time.Sub(from) / width
		if stretch != last {
			thinned, last = append(thinned, p), stretch
			continue
		}
		thinned[len(thinned)-1].join(p)
	}
	return thinned
}

func (p *Point) join(q Point) {
	p.Time = q.Time
	p.Min, p.Max = min(p.Min, q.Min), max(p.Max, q.Max)
	p.Samples++
	p.Mean += (q.Mean - p.Mean) / float64(p.Samples)
}

// copyLabels copies what lies in memory that closing the reader unmaps.
func copyLabels(from labels.Labels) map[string]string {
	all := map[string]string{}
	from.Range(func(l labels.Label) { all[strings.Clone(l.Name)] = strings.Clone(l.Value) })
	return all
}
