package rules

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	maxBuckets = 64
	// minBuckets is the least that a line is fitted to: with eight, an R² of 0.8 comes
	// by chance in fewer than three of a thousand.
	minBuckets = 8
	// A clean-up is a step away from the limit of at least cleanUpShare of all that the
	// figure ranged over and cleanUpTimes the ordinary step.
	cleanUpShare = 0.15
	cleanUpTimes = 6
)

// usable gives the finite points from one time to another, both inclusive, in order.
func usable(points []Point, from, to time.Time) []Point {
	out := make([]Point, 0, len(points))
	for _, p := range points {
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) && !p.At.Before(from) && !p.At.After(to) {
			out = append(out, p)
		}
	}
	byTime := func(a, b Point) int { return a.At.Compare(b.At) }
	if !slices.IsSortedFunc(out, byTime) {
		slices.SortStableFunc(out, byTime)
	}
	return out
}

// condense cuts points into spans of equal time and takes of each the median point:
// always one that was measured, so that a clean-up in the middle of a span stays one
// step rather than becoming two half ones. A handful of points stays as it is.
func condense(points []Point) []Point {
	if len(points) <= maxBuckets {
		return points
	}
	start := points[0].At
	width := points[len(points)-1].At.Sub(start)/maxBuckets + 1
	out := make([]Point, 0, maxBuckets)
	for len(points) > 0 {
		bucket := points[0].At.Sub(start) / width
		n := 1
		for n < len(points) && points[n].At.Sub(start)/width == bucket {
			n++
		}
		out = append(out, medianOf(points[:n]))
		points = points[n:]
	}
	return out
}

// medianOf is the point with the middle value, the lower of two.
func medianOf(points []Point) Point {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, byValue)
	return sorted[(len(sorted)-1)/2]
}

func byValue(a, b Point) int { return cmp.Compare(a.Value, b.Value) }

// median orders its argument.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return values[(n-1)/2]/2 + values[n/2]/2
}

// cleanUps finds the steps away from the limit that end a trend, and gives the time
// of the second point after each: the first may hold points of both sides.
func cleanUps(points []Point, dir float64) []time.Time {
	if len(points) < 3 {
		return nil
	}
	spread := slices.MaxFunc(points, byValue).Value - slices.MinFunc(points, byValue).Value
	steps := make([]float64, len(points)-1) // positive away from the limit
	sizes := make([]float64, len(steps))
	for i := range steps {
		steps[i] = (points[i].Value - points[i+1].Value) * dir
		sizes[i] = math.Abs(steps[i])
	}
	least := max(cleanUpShare*spread, cleanUpTimes*median(sizes))
	var found []time.Time
	for i := range steps {
		again := i+1 < len(steps) && steps[i+1] > 0 && steps[i+1] >= least // the same one goes on
		if steps[i] > 0 && steps[i] >= least && !again {
			found = append(found, points[min(i+2, len(points)-1)].At)
		}
	}
	return found
}

// nextCleanUp says when, going by the longest time between clean-ups, another one can
// be expected at the latest; zero when there were fewer than two.
func nextCleanUp(found []time.Time) time.Time {
	if len(found) < 2 {
		return time.Time{}
	}
	var longest time.Duration
	for i := range found[1:] {
		longest = max(longest, found[i+1].Sub(found[i]))
	}
	return found[len(found)-1].Add(longest + longest/4)
}

// line is value = base + slope * seconds since origin.
type line struct {
	origin      time.Time
	base, slope float64
}

func (l line) at(t time.Time) float64 { return l.base + l.slope*t.Sub(l.origin).Seconds() }

// fit is the line of Theil and Sen through the points.
func fit(points []Point) line {
	l := line{origin: points[0].At}
	slopes := make([]float64, 0, len(points)*(len(points)-1)/2)
	for i, a := range points {
		for _, b := range points[i+1:] {
			if dt := b.At.Sub(a.At).Seconds(); dt > 0 {
				slopes = append(slopes, (b.Value-a.Value)/dt)
			}
		}
	}
	if len(slopes) > 0 {
		l.slope = median(slopes)
	}
	offsets := make([]float64, len(points))
	for i, p := range points {
		offsets[i] = p.Value - l.slope*p.At.Sub(l.origin).Seconds()
	}
	l.base = median(offsets)
	return l
}

// confidence is the coefficient of determination, 0 for a line no better than the mean.
func (l line) confidence(points []Point) float64 {
	var mean, total, left float64
	for _, p := range points {
		mean += p.Value / float64(len(points))
	}
	for _, p := range points {
		total += (p.Value - mean) * (p.Value - mean)
		d := p.Value - l.at(p.At)
		left += d * d
	}
	if total == 0 || math.IsInf(total, 0) || math.IsNaN(total) {
		return 0
	}
	return max(0, 1-left/total)
}
