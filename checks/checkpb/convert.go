// Package checkpb is how a run of a check is spooled by an agent and sent by a
// plugin.
package checkpb

import (
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// ToProto packs a run for the tick that it was planned at. The next run's result
// is due within nextWithin of that tick. Both are kept to the millisecond. Bytes
// that are no UTF-8, which a message can't carry, become question marks; the
// run's Sample stays behind.
func ToProto(check, instance string, planned time.Time, nextWithin time.Duration, run checks.Run) *Run {
	out := &Run{
		Check:        valid(check),
		Instance:     valid(instance),
		PlannedMs:    planned.UnixMilli(),
		NextWithinMs: nextWithin.Milliseconds(),
		Complete:     run.Complete,
	}
	if len(run.Results) > 0 {
		out.Results = make([]*Result, len(run.Results))
	}
	for i := range run.Results {
		out.Results[i] = resultToProto(&run.Results[i])
	}
	return out
}

func resultToProto(r *checks.Result) *Result {
	out := &Result{
		Item:     valid(r.Item),
		Status:   Status(r.Status),
		Summary:  valid(r.Summary),
		Evidence: valid(r.Evidence),
	}
	if len(r.Metrics) > 0 {
		out.Metrics = make([]*Metric, len(r.Metrics))
	}
	for i := range r.Metrics {
		out.Metrics[i] = metricToProto(&r.Metrics[i])
	}
	return out
}

func metricToProto(m *checks.Metric) *Metric {
	out := &Metric{Name: valid(m.Name), Type: MetricType(m.Type), Value: m.Value}
	if len(m.Labels) > 0 {
		out.Labels = make([]*Label, len(m.Labels))
	}
	for i, l := range m.Labels {
		out.Labels[i] = &Label{Name: valid(l.Name), Value: valid(l.Value)}
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "?") }

// FromProto unpacks a run. It refuses a message that can't be one: an unknown
// status or metric type, or an empty place in a list. Whether the run keeps to its
// check's declaration and to the limits is for checks.Spec.Validate to say. What
// the message says of check, instance and times is read from the message itself.
func FromProto(in *Run) (checks.Run, error) {
	if in == nil {
		return checks.Run{}, fmt.Errorf("unpacking a run: there is none")
	}
	run := checks.Run{Complete: in.GetComplete()}
	if n := len(in.GetResults()); n > checks.MaxResults {
		return checks.Run{}, fmt.Errorf("unpacking a run of %.64q: %d results; at most %d are allowed", in.GetCheck(), n, checks.MaxResults)
	} else if n > 0 {
		run.Results = make([]checks.Result, n)
	}
	for i, r := range in.GetResults() {
		if err := resultFromProto(r, &run.Results[i]); err != nil {
			return checks.Run{}, fmt.Errorf("unpacking result %d of a run of %.64q: %w", i+1, in.GetCheck(), err)
		}
	}
	return run, nil
}

func resultFromProto(in *Result, out *checks.Result) error {
	if in == nil {
		return fmt.Errorf("it is empty")
	}
	if in.GetStatus() < Status_OK || in.GetStatus() > Status_UNKNOWN {
		return fmt.Errorf("no status has number %d", in.GetStatus())
	}
	*out = checks.Result{
		Item:     in.GetItem(),
		Status:   checks.Status(in.GetStatus()),
		Summary:  in.GetSummary(),
		Evidence: in.GetEvidence(),
	}
	if n := len(in.GetMetrics()); n > checks.MaxMetrics {
		return fmt.Errorf("%d metrics; at most %d are allowed", n, checks.MaxMetrics)
	} else if n > 0 {
		out.Metrics = make([]checks.Metric, n)
	}
	for i, m := range in.GetMetrics() {
		if err := metricFromProto(m, &out.Metrics[i]); err != nil {
			return fmt.Errorf("metric %d: %w", i+1, err)
		}
	}
	return nil
}

func metricFromProto(in *Metric, out *checks.Metric) error {
	if in == nil {
		return fmt.Errorf("it is empty")
	}
	if in.GetType() != MetricType_GAUGE && in.GetType() != MetricType_COUNTER {
		return fmt.Errorf("no metric type has number %d", in.GetType())
	}
	*out = checks.Metric{Name: in.GetName(), Type: checks.MetricType(in.GetType()), Value: in.GetValue()}
	if n := len(in.GetLabels()); n > checks.MaxLabels {
		return fmt.Errorf("%d labels; at most %d are allowed", n, checks.MaxLabels)
	} else if n > 0 {
		out.Labels = make([]checks.Label, n)
	}
	for i, l := range in.GetLabels() {
		if l == nil {
			return fmt.Errorf("label %d is empty", i+1)
		}
		out.Labels[i] = checks.Label{Name: l.GetName(), Value: l.GetValue()}
	}
	return nil
}
