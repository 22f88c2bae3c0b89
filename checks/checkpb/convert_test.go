package checkpb_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
)

func label(t *rapid.T) checks.Label {
	return checks.Label{Name: rapid.String().Draw(t, "label name"), Value: rapid.String().Draw(t, "label value")}
}

func metric(t *rapid.T) checks.Metric {
	return checks.Metric{
		Name:   rapid.String().Draw(t, "metric name"),
		Type:   rapid.SampledFrom([]checks.MetricType{checks.Gauge, checks.Counter}).Draw(t, "type"),
		Labels: some(t, rapid.Custom(label), checks.MaxLabels),
		Value:  rapid.Float64().Draw(t, "value"),
	}
}

func result(t *rapid.T) checks.Result {
	return checks.Result{
		Item:     rapid.String().Draw(t, "item"),
		Status:   checks.Status(rapid.IntRange(0, 3).Draw(t, "status")),
		Summary:  rapid.String().Draw(t, "summary"),
		Metrics:  some(t, rapid.Custom(metric), 5),
		Evidence: rapid.String().Draw(t, "evidence"),
	}
}

// some draws a list that is nil when it is empty, as it comes back.
func some[V any](t *rapid.T, g *rapid.Generator[V], most int) []V {
	list := rapid.SliceOfN(g, 0, most).Draw(t, "list")
	if len(list) == 0 {
		return nil
	}
	return list
}

// What is packed, marshalled, unmarshalled and unpacked is what it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := checks.Run{Results: some(t, rapid.Custom(result), 5), Complete: rapid.Bool().Draw(t, "complete")}
		planned := time.UnixMilli(rapid.Int64Range(-1e15, 1e15).Draw(t, "planned"))
		within := time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "within")) * time.Millisecond
		check, instance := rapid.String().Draw(t, "check"), rapid.String().Draw(t, "instance")

		data, err := proto.Marshal(checkpb.ToProto(check, instance, planned, within, run))
		if err != nil {
			t.Fatal(err)
		}
		var message checkpb.Run
		if err := proto.Unmarshal(data, &message); err != nil {
			t.Fatal(err)
		}
		back, err := checkpb.FromProto(&message)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, run) {
			t.Errorf("came back as %+v\nnot as            %+v", back, run)
		}
		if message.GetCheck() != check || message.GetInstance() != instance ||
			!time.UnixMilli(message.GetPlannedMs()).Equal(planned) || message.GetNextWithinMs() != within.Milliseconds() {
			t.Errorf("the message's own fields are %v", &message)
		}
	})
}

// A mount point or a program's output may be in any bytes; it must not keep the
// run from being sent.
func TestNoUTF8(t *testing.T) {
	run := checks.Run{Results: []checks.Result{{
		Item: "/mnt/\xff\xfe", Summary: "\xc3(", Evidence: "a\x80b",
		Metrics: []checks.Metric{{Name: "m", Labels: []checks.Label{{Name: "l", Value: "\xf0"}}}},
	}}}
	message := checkpb.ToProto("disk", "", time.UnixMilli(0), 0, run)
	if _, err := proto.Marshal(message); err != nil {
		t.Fatal(err)
	}
	if got := message.GetResults()[0].GetItem(); got != "/mnt/?" {
		t.Errorf("the item is %q", got)
	}
	if run.Results[0].Item != "/mnt/\xff\xfe" {
		t.Error("the run itself was changed")
	}
}

func TestSampleStaysBehind(t *testing.T) {
	back, err := checkpb.FromProto(checkpb.ToProto("cpu", "", time.Time{}, 0, checks.Run{Sample: "kept"}))
	if err != nil || back.Sample != nil {
		t.Errorf("Sample came back as %v, %v", back.Sample, err)
	}
}

func TestRefused(t *testing.T) {
	one := func(r *checkpb.Result) *checkpb.Run {
		return &checkpb.Run{Check: "disk", Results: []*checkpb.Result{{}, r}}
	}
	tests := []struct {
		why string
		run *checkpb.Run
	}{
		{"there is none", nil},
		{"result 2 of a run of \"disk\": it is empty", one(nil)},
		{"no status has number 4", one(&checkpb.Result{Status: 4})},
		{"no status has number -1", one(&checkpb.Result{Status: -1})},
		{"no status has number 256", one(&checkpb.Result{Status: 256})},
		{"metric 1: it is empty", one(&checkpb.Result{Metrics: []*checkpb.Metric{nil}})},
		{"no metric type has number 256", one(&checkpb.Result{Metrics: []*checkpb.Metric{{Type: 256}}})},
		{"label 1 is empty", one(&checkpb.Result{Metrics: []*checkpb.Metric{{Labels: []*checkpb.Label{nil}}}})},
		{"5 labels; at most 4", one(&checkpb.Result{Metrics: []*checkpb.Metric{{Labels: make([]*checkpb.Label, 5)}}})},
		{"129 metrics; at most 128", one(&checkpb.Result{Metrics: make([]*checkpb.Metric, 129)})},
		{"2001 results; at most 2000", &checkpb.Run{Results: make([]*checkpb.Result, 2001)}},
	}
	for _, tt := range tests {
		if _, err := checkpb.FromProto(tt.run); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("must be refused with %q, but gave: %v", tt.why, err)
		}
	}
}

// Whatever bytes arrive, unpacking gives an error or a run that packs to a message
// saying the same.
func FuzzFromProto(f *testing.F) {
	seed, err := proto.Marshal(checkpb.ToProto("disk", "data", time.UnixMilli(1), time.Minute, checks.Run{
		Complete: true,
		Results: []checks.Result{{
			Item: "/", Status: checks.Critical, Summary: "full", Evidence: "df",
			Metrics: []checks.Metric{{Name: "free_bytes", Value: 1, Labels: []checks.Label{{Name: "a", Value: "b"}}}},
		}},
	}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var message checkpb.Run
		if proto.Unmarshal(data, &message) != nil {
			return
		}
		run, err := checkpb.FromProto(&message)
		if err != nil {
			return
		}
		again := checkpb.ToProto(message.GetCheck(), message.GetInstance(), time.UnixMilli(message.GetPlannedMs()), 0, run)
		second, err := checkpb.FromProto(again)
		if err != nil {
			t.Fatal(err)
		}
		if !sameRun(run, second) {
			t.Errorf("%+v became %+v", run, second)
		}
		if !utf8.ValidString(again.GetCheck()) {
			t.Error("the check's name is no UTF-8")
		}
	})
}

// sameRun also finds NaN equal to itself.
func sameRun(a, b checks.Run) bool {
	for _, run := range []checks.Run{a, b} {
		for _, r := range run.Results {
			for i := range r.Metrics {
				if math.IsNaN(r.Metrics[i].Value) {
					r.Metrics[i].Value = 0
				}
			}
		}
	}
	return reflect.DeepEqual(a, b)
}
