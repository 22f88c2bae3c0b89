package command_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/command"
)

// The table of https://www.monitoring-plugins.org/doc/guidelines.html, and its edges.
func TestRange(t *testing.T) {
	for _, tt := range []struct {
		text       string
		alert, not []float64
	}{
		{"10", []float64{-1, -0.001, 10.001, 11}, []float64{0, 5, 10}},
		{"10:", []float64{9.999, 0, -5}, []float64{10, 11, 1e9}},
		{"~:10", []float64{10.001, 1e9}, []float64{10, 0, -1e9}},
		{"10:20", []float64{9.9, 20.1, 0}, []float64{10, 15, 20}},
		{"@10:20", []float64{10, 15, 20}, []float64{9.9, 20.1}},
		{"@10", []float64{0, 5, 10}, []float64{-1, 11}},
		{"@10:", []float64{10, 11}, []float64{9}},
		{"@~:10", []float64{-1e9, 10}, []float64{11}},
		{"-5:-1", []float64{-6, 0}, []float64{-5, -1}},
		{"~:", nil, []float64{-1e300, 0, 1e300}},
		{"0", []float64{-1, 1}, []float64{0}},
		{":10", []float64{-1, 11}, []float64{0, 10}},
		{"1.5:2.5", []float64{1, 3}, []float64{1.5, 2.5}},
	} {
		r, err := command.ParseRange(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, v := range tt.alert {
			if !r.Alerts(v) {
				t.Errorf("%s: %g must raise an alert", tt.text, v)
			}
		}
		for _, v := range tt.not {
			if r.Alerts(v) {
				t.Errorf("%s: %g must raise no alert", tt.text, v)
			}
		}
	}
	for _, text := range []string{"", "@", "x", "10:x", "x:10", "20:10", "1:2:3", "10,20", "NaN", "inf", "0x10", "1_0", "~", "10:~"} {
		if r, err := command.ParseRange(text); err == nil {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}

func TestPerformanceData(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"time=0.5s", "time=0.5s"},
		{"time=12ms;20;30;0;40", "time=0.012s warn 0..0.02 crit 0..0.03 min 0 max 0.04"},
		{"t=5us u=7ns v=3µs", "t=5e-06s u=7e-09s v=3e-06s"},
		{"pl=25%;10;20;0;100", "pl=0.25% warn 0..0.1 crit 0..0.2 min 0 max 1"},
		{"/=2KB /var=1.5MiB tb=1TB g=1GB b=7B", "/=2048B /var=1.572864e+06B tb=1.099511627776e+12B g=1.073741824e+09B b=7B"},
		{"in=123c", "in=123c"},
		{"users=3;;;0;", "users=3 min 0"},
		{"'two words'=1 'it''s'=2 'a=b'=3", "two words=1 it's=2 a=b=3"},
		{"x=U y=1", "y=1"},
		{"x=;1;2 y=2", "y=2"},
		{"a=1;10:20;@5:6", "a=1 warn 10..20 crit @5..6"},
		{"a=1;~:10;10:", "a=1 warn -Inf..10 crit 10..+Inf"},
		{"a=5%;10%;20%", "a=0.05% warn 0..0.1 crit 0..0.2"},
		{"a=1;bad;2;bad;3", "a=1 crit 0..2 max 3"},
		{"a=-1.5e3 b=+2 c=.5 d=5.", "a=-1500 b=2 c=0.5 d=5"},
		{"temp=21C;30;40", "temp=21C warn 0..30 crit 0..40"},
		{"a=0,5s b=1e999 c=0x10 d=NaN e=1", "e=1"},
		{"=1 ' '=2 ''=3 words without sense d=4", " =2 d=4"},
		{"'open=1 a=2", "a=2"},
		{"a=1\t b=2\nmore text | c=3\r\nd=4", "a=1 b=2 c=3 d=4"},
		{"", ""},
	} {
		out := command.ParseOutput("x|" + tt.text)
		var got []string
		for _, p := range out.Perf {
			got = append(got, show(&p))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%q\n gave %s\n  not %s", tt.text, text, tt.want)
		}
	}
}

func show(p *command.Perf) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s=%g%s", p.Label, p.Value, p.Unit)
	for _, r := range []struct {
		name string
		*command.Range
	}{{"warn", p.Warn}, {"crit", p.Crit}} {
		if r.Range != nil {
			fmt.Fprintf(&text, " %s %s%g..%g", r.name, map[bool]string{true: "@"}[r.Inside], r.Start, r.End)
		}
	}
	if !math.IsNaN(p.Min) {
		fmt.Fprintf(&text, " min %g", p.Min)
	}
	if !math.IsNaN(p.Max) {
		fmt.Fprintf(&text, " max %g", p.Max)
	}
	return text.String()
}

var update = flag.Bool("update", false, "write what the recorded outputs give beside them")

// Each output in testdata is taken apart as its .want says.
func TestRecordedOutputs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded output: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := describe(command.Judge(0, string(data), ""))
		want := strings.TrimSuffix(file, ".txt") + ".want"
		if *update {
			if err := os.WriteFile(want, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		expected, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(expected) {
			t.Errorf("%s gave\n%s\nnot\n%s", file, got, expected)
		}
	}
}

func describe(r checks.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Summary)
	for _, m := range r.Metrics {
		fmt.Fprintf(&b, "%s{%s} %g\n", m.Name, m.Labels[0].Value, m.Value)
	}
	if r.Evidence != "" {
		fmt.Fprintf(&b, "---\n%s\n", r.Evidence)
	}
	return b.String()
}

// Whatever a program writes makes a result that its declaration allows.
func FuzzOutput(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(0, string(data), "")
	}
	spec := command.New().Spec()
	f.Fuzz(func(t *testing.T, code int, stdout, stderr string) {
		r := command.Judge(code, stdout, stderr)
		run := checks.Run{Results: []checks.Result{r}}
		if err := spec.Validate(&run); err != nil {
			t.Fatal(err)
		}
		if r.Summary == "" || strings.ContainsAny(r.Summary, "\r\n") || !utf8.ValidString(r.Summary) || !utf8.ValidString(r.Evidence) {
			t.Fatalf("summary %q, evidence %q", r.Summary, r.Evidence)
		}
		if (r.Status == checks.Unknown) != (code < 0 || code > 2) {
			t.Fatalf("exit code %d is %s", code, r.Status)
		}
		for _, m := range r.Metrics {
			if !utf8.ValidString(m.Labels[0].Value) {
				t.Fatalf("label %q", m.Labels[0].Value)
			}
		}
	})
}

// A range that was read is true of its own ends, and keeps what is beyond out.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"10", "10:", "~:10", "10:20", "@10:20", "-1.5:2e3", ":"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := command.ParseRange(text)
		if err != nil {
			return
		}
		if math.IsNaN(r.Start) || math.IsNaN(r.End) || r.Start > r.End {
			t.Fatalf("%q gave %+v", text, r)
		}
		for _, end := range []float64{r.Start, r.End} {
			if r.Alerts(end) != r.Inside {
				t.Fatalf("%q: %g, an end of it, is taken for outside", text, end)
			}
		}
	})
}
