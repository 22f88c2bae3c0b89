package checks_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks"
)

func TestDeclarations(t *testing.T) {
	all, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	for i, spec := range all {
		if i > 0 && all[i-1].Name >= spec.Name {
			t.Errorf("%s comes before %s", all[i-1].Name, spec.Name)
		}
		t.Run(spec.Name, func(t *testing.T) { wellDeclared(t, spec) })
	}
}

// wellDeclared holds a declaration to what ParseSpec leaves to taste.
func wellDeclared(t *testing.T, spec *checks.Spec) {
	t.Helper()
	one, err := checks.Declaration(spec.Name)
	if err != nil || !reflect.DeepEqual(one, spec) || !reflect.DeepEqual(checks.MustDeclaration(spec.Name), spec) {
		t.Errorf("Declaration(%s) differs from the one in Declarations: %v", spec.Name, err)
	}
	data, err := checks.DeclarationFile(spec.Name)
	if err != nil || len(data) == 0 {
		t.Errorf("DeclarationFile(%s): %v", spec.Name, err)
	}
	seen := map[string]bool{}
	for _, m := range spec.Metrics {
		if seen[m.Name] {
			t.Errorf("metric %s is declared twice", m.Name)
		}
		seen[m.Name] = true
		// https://prometheus.io/docs/practices/naming/#metric-names
		if counts := strings.HasSuffix(m.Name, "_total"); counts != (m.Type == "counter") {
			t.Errorf("metric %s is a %s: counters, and only they, end in _total", m.Name, m.Type)
		}
	}
	for _, r := range spec.Rules {
		if r.Name == "" || r.Title == "" || r.Category == "" || r.Impact == "" || r.Urgency == "" {
			t.Errorf("rule %q needs a name, a title, a category, an impact and an urgency", r.Name)
		}
		if r.Warning == "" && r.Critical == "" && r.Vanished == "" {
			t.Errorf("rule %q has no condition", r.Name)
		}
	}
	for _, f := range spec.Forecasts {
		if spec.Metric(f.Metric) == nil {
			t.Errorf("forecast %q is of a metric %q that is not declared", f.Name, f.Metric)
		}
	}
}

func TestDeclarationUnknown(t *testing.T) {
	if _, err := checks.Declaration("no_such_check"); err == nil || !strings.Contains(err.Error(), "no_such_check") {
		t.Errorf("the error must name the check, but is: %v", err)
	}
	if _, err := checks.DeclarationFile("no_such_check"); err == nil || !strings.Contains(err.Error(), "no_such_check") {
		t.Errorf("the error must name the check, but is: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustDeclaration of an unknown check must panic")
		}
	}()
	checks.MustDeclaration("no_such_check")
}

const head = "name: a\nsummary: s\ninterval: 60s\ntimeout: 1s\nsystems: [linux]\n"

func TestParseSpecRefuses(t *testing.T) {
	tests := []struct{ name, text, why string }{
		{"empty", "", "EOF"},
		{"unknown key, with its line", head + "colour: red\n", "line 6: field colour not found"},
		{"name", strings.Replace(head, "name: a", "name: A-b", 1), "lower case"},
		{"long name", strings.Replace(head, "name: a", "name: "+strings.Repeat("a", 65), 1), "at most 64"},
		{"interval", strings.Replace(head, "60s", "0s", 1), "above zero"},
		{"duration", strings.Replace(head, "60s", "soon", 1), "not a duration such as 90s, 10m, 24h or 30d"},
		{"metric type", head + "metrics: [{name: m, type: timer, unit: seconds, summary: s}]", `metric "m" needs`},
		{"metric unit", head + "metrics: [{name: m, type: gauge, summary: s}]", `metric "m" needs`},
		{"labels", head + "metrics: [{name: m, type: gauge, unit: u, summary: s, labels: [a, b, c, d, e]}]", "has 5 labels; at most 4"},
		{"parameter", head + "parameters: [{name: p, type: int}]", `parameter "p" needs`},
		{"enum", head + "parameters: [{name: p, type: enum, summary: s}]", "enum without values"},
		{"default", head + `parameters: [{name: p, type: int, summary: s, default: [many]}]`, `default of parameter "p": "many" is not a whole number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := checks.ParseSpec([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("must be refused with %q, but gave: %v", tt.why, err)
			}
		})
	}
}

// Whatever is parsed is valid, can be written and read again, and can be used.
func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(everyType))
	f.Add([]byte(head))
	all, err := checks.Declarations()
	if err != nil {
		f.Fatal(err)
	}
	for _, spec := range all {
		data, err := checks.DeclarationFile(spec.Name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := checks.ParseSpec(data)
		if err != nil {
			return
		}
		_, _ = spec.Params(checks.Params{"a": {"b"}})
		if err := spec.Validate(&checks.Run{}); err != nil {
			t.Errorf("an empty run must be valid: %v", err)
		}
		written, err := yaml.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checks.ParseSpec(written); err != nil {
			t.Errorf("written again it is refused: %v\n%s", err, written)
		}
	})
}

func measured(t testing.TB) *checks.Spec {
	t.Helper()
	spec, err := checks.ParseSpec([]byte(head + `metrics:
  - {name: size_bytes, type: gauge, unit: bytes, summary: s}
  - {name: read_bytes_total, type: counter, unit: bytes, summary: s, labels: [drive, way]}
`))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestValidate(t *testing.T) {
	read := func(labels ...checks.Label) checks.Result {
		return checks.Result{Metrics: []checks.Metric{{Name: "read_bytes_total", Type: checks.Counter, Labels: labels}}}
	}
	size := func(v float64) checks.Result {
		return checks.Result{Metrics: []checks.Metric{{Name: "size_bytes", Value: v}}}
	}
	drive, way := checks.Label{Name: "drive", Value: "sda"}, checks.Label{Name: "way", Value: "in"}
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name string
		run  checks.Run
		why  string // empty: valid
	}{
		{"nothing", checks.Run{}, ""},
		{"figures", results(size(1), checks.Result{Item: "b", Metrics: read(drive, way).Metrics}), ""},
		{"at the limits", results(checks.Result{Item: x(256), Summary: x(1024), Evidence: x(4096)}), ""},
		{"item twice", results(size(1), size(1)), `two results for item ""`},
		{"status", results(checks.Result{Status: 4}), "no status has number 4"},
		{"item", results(checks.Result{Item: x(257)}), "257 bytes; at most 256"},
		{"summary", results(checks.Result{Summary: x(1025)}), "1025 bytes; at most 1024"},
		{"evidence", results(checks.Result{Evidence: x(4097)}), "4097 bytes; at most 4096"},
		{"results", checks.Run{Results: make([]checks.Result, 2001)}, "2001 results in one run; at most 2000"},
		{"metrics", results(checks.Result{Metrics: make([]checks.Metric, 129)}), "129 metrics; at most 128"},
		{"undeclared", results(checks.Result{Metrics: []checks.Metric{{Name: "speed"}}}), `metric "speed" is not declared`},
		{"type", results(checks.Result{Metrics: []checks.Metric{{Name: "size_bytes", Type: checks.Counter}}}), "is a counter, but was declared a gauge"},
		{"NaN", results(size(math.NaN())), "is NaN"},
		{"infinite", results(size(math.Inf(-1))), "is -Inf"},
		{"too few labels", results(read(drive)), "has 1 labels, but declares 2"},
		{"other order of labels", results(read(way, drive)), `label 1 of metric "read_bytes_total" is "way"`},
		{"long label", results(read(drive, checks.Label{Name: "way", Value: x(257)})), "257 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := measured(t).Validate(&tt.run)
			if tt.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("must be refused with %q, but gave: %v", tt.why, err)
			}
		})
	}
}

func results(r ...checks.Result) checks.Run { return checks.Run{Results: r} }

// Durations are read as they are written.
func TestDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := checks.Duration(rapid.OneOf(
			rapid.Int64(),
			rapid.Map(rapid.Int64Range(-36500, 36500), func(days int64) int64 { return days * 24 * int64(time.Hour) }),
		).Draw(t, "duration"))
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got checks.Duration
		if err := got.UnmarshalText(text); err != nil || got != want || got.D() != time.Duration(want) {
			t.Errorf("%s was read as %s, %v", text, got, err)
		}
	})
	var d checks.Duration
	if err := d.UnmarshalText([]byte("30d")); err != nil || d.D() != 30*24*time.Hour {
		t.Errorf("30d was read as %s, %v", d, err)
	}
	for _, bad := range []string{"", "d", "1.5d", "99999999999d", "106752d", "-106752d", "1 d", "week"} {
		if err := d.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q must be refused, but was read as %s", bad, d)
		}
	}
}

func TestStatus(t *testing.T) {
	for status, name := range map[checks.Status]string{
		checks.OK: "ok", checks.Warning: "warning", checks.Critical: "critical", checks.Unknown: "unknown",
	} {
		data, err := json.Marshal(status)
		if err != nil || string(data) != `"`+name+`"` || status.String() != name {
			t.Errorf("status %d is written %s, %v", status, data, err)
		}
		var back checks.Status
		if err := json.Unmarshal(data, &back); err != nil || back != status {
			t.Errorf("%s is read as %s, %v", data, back, err)
		}
	}
	var s checks.Status
	if err := s.UnmarshalText([]byte("OK")); err == nil {
		t.Error("OK in capitals must be refused")
	}
	if _, err := checks.Status(4).MarshalText(); err == nil || checks.Status(4).String() != "status(4)" {
		t.Errorf("status 4 must be refused, and print as status(4), not %s", checks.Status(4))
	}
	if checks.Gauge.String() != "gauge" || checks.Counter.String() != "counter" {
		t.Error("the metric types misprint")
	}
}

// No way of printing or encoding shows a credential.
func TestSecretIsHidden(t *testing.T) {
	const text = "correct horse"
	hexText := fmt.Sprintf("%x", text)
	secret := checks.NewSecret(text)
	if secret.Reveal() != text || (checks.Secret{}).Reveal() != "" {
		t.Error("Reveal must give the text, and of no secret none")
	}
	holder := struct {
		S      checks.Secret
		P      *checks.Secret
		hidden checks.Secret // fmt can't call the methods of this one
	}{secret, &secret, secret}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{secret, &secret, holder} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, text) || strings.Contains(out, hexText) {
				t.Errorf("%s shows %s", verb, out)
			}
		}
	}
	data, err := json.Marshal(holder)
	if err != nil || strings.Contains(string(data), text) || !strings.Contains(string(data), "***") {
		t.Errorf("JSON shows %s, %v", data, err)
	}
}
