package outward

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// Steps times the steps of a test in the order they are taken.
type Steps struct {
	metrics []checks.Metric
	failed  string
	err     error
}

// Do takes one step and times it, unless an earlier one failed. It says whether
// the test can go on.
func (s *Steps) Do(name string, step func() error) bool {
	if s.err != nil {
		return false
	}
	start := time.Now()
	if err := step(); err != nil {
		s.failed, s.err = name, err
		return false
	}
	s.Took(name, time.Since(start))
	return true
}

// Took records the time of a step that was measured elsewhere.
func (s *Steps) Took(name string, d time.Duration) {
	s.metrics = append(s.metrics, checks.Metric{Name: name + "_seconds", Value: d.Seconds()})
}

// Fail records that a step failed; the first failure stands.
func (s *Steps) Fail(name string, err error) {
	if s.err == nil {
		s.failed, s.err = name, err
	}
}

// Err returns the failure of the first step that failed, or nil.
func (s *Steps) Err() error { return s.err }

// Metrics returns one <step>_seconds metric for each step that was completed.
func (s *Steps) Metrics() []checks.Metric { return s.metrics }

// Total returns the time of all completed steps.
func (s *Steps) Total() time.Duration {
	var sum float64
	for _, m := range s.metrics {
		sum += m.Value
	}
	return time.Duration(sum * float64(time.Second))
}

// Summary says which step failed and why, on one line.
func (s *Steps) Summary() string {
	if s.err == nil {
		return ""
	}
	return text.Line(fmt.Sprintf("%s failed: %v", s.failed, s.err))
}

// Seconds writes a duration for a summary: 12 ms, 1.4 s.
func Seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}
