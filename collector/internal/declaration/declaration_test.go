package declaration_test

import (
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/declaration"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

func parse(check, text string) (*declaration.Declaration, error) {
	return declaration.Parse(check, []byte(text), sha256.Sum256([]byte(text)))
}

// TestBuiltInDeclarationsWouldPass holds the limits to what real checks need.
func TestBuiltInDeclarationsWouldPass(t *testing.T) {
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		text, err := checks.DeclarationFile(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(s.Name, string(text)); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

const head = "name: web\nsummary: s\ninterval: 60s\ntimeout: 10s\nsystems: [linux]\n"

func TestWhatIsWrongIsToldInOneLine(t *testing.T) {
	for text, want := range map[string]string{
		head + "rules:\n  - {name: slow, title: t, critical: 'x > 1'}\n":                               `the declaration of web:7: rule slow of web, critical: "x > 1": unknown metric x: check web has none`,
		head + "rules:\n  - {name: slow, title: t}\n":                                                  "the declaration of web:7: rule slow of web lacks a part; give title and warning, critical or vanished",
		head + "rules:\n  - {name: freshness, title: t, critical: '1 > 0'}\n":                          "no rule can be called freshness",
		head + "rules:\n  - {name: a, title: '{{secret}}', critical: '1 > 0'}\n":                       "title has {{secret}}",
		head + "rules:\n  - {name: a, title: t, warning: '1 > 0', impact: High!}\n":                    `impact is "High!"; use lower case words`,
		head + "metrics: [{name: m, type: gauge, summary: s}]\n":                                       `metric "m" needs a name`,
		head + "metrics: [{name: m, type: gauge, unit: s, summary: s, labels: [a,b,c,d,e]}]\n":         "5 labels; at most 4",
		head + "parameters: [{name: p, type: enum, summary: s}]\n":                                     "is an enum without values",
		head + "parameters: [{name: p, type: int, summary: s, default: [x]}]\n":                        `"x" is not a whole number`,
		head + "forecasts:\n  - {name: f, title: t, metric: m, limit: .inf}\n":                         "the limit of forecast f is no number",
		head + "item: " + strings.Repeat("x", 1025) + "\n":                                             "item has 1025 bytes; at most 1024",
		head + "rules:\n  - {name: a, title: t, warning: " + strings.Repeat("(", 1100) + "}\n":         "has 1100 bytes; at most 1024",
		head + "rules:\n  - {name: a, title: t, warning: '" + strings.Repeat("1+", 500) + "1>0'}\n":    "it is nested deeper than 100",
		head + strings.Repeat("a: 1\n", 12000):                                                         "more than 32 keys in one group",
		strings.Replace(head, "interval: 60s", "interval: soon", 1):                                    `"soon" is not a duration`,
		strings.Replace(head, "interval: 60s", "interval: 0s", 1):                                      "must be above zero",
		head + "metrics:\n" + strings.Repeat("  - {name: 'M M', type: x, unit: '', summary: ''}\n", 1): "needs a name, a type",
	} {
		_, err := parse("web", text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// The pattern of a parameter is the agent's to match by: a stranger's could keep a
// collector busy for ever.
func TestPatternsAreLeftToTheAgent(t *testing.T) {
	text := head + "parameters:\n  - {name: p, type: string, summary: s, pattern: '(a{1000}){1000}', default: [aaaa]}\n"
	d, err := parse("web", text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Spec.Params(checks.Params{"p": {"b"}}); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreShort(t *testing.T) {
	long := head + "rules:\n" + strings.Repeat("  - {name: a, title: '{{é}}', warning: 'é > 1'}\n", 60)
	_, err := parse("web", long)
	if err == nil || len(err.Error()) > 420 || !utf8.ValidString(err.Error()) {
		t.Errorf("%v", err)
	}
}

// FuzzParse lets whatever is taken for a declaration judge results, with and without
// layers of policy.
func FuzzParse(f *testing.F) {
	specs, err := checks.Declarations()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range specs {
		text, err := checks.DeclarationFile(s.Name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.Replace(string(text), "name: "+s.Name, "name: web", 1))
	}
	f.Add(head + "rules:\n  - {name: a, title: t, critical: 'max(m) / 0 ** 2 > prev(\"m\")[\"a,b\"] ? 1 : 2'}\n")
	f.Add(head + "metrics: [{name: m, type: counter, unit: b, summary: s, labels: [l]}]\nrules:\n  - {name: slow, title: t, warning: 'rising(\"m\", \"1d\") || sum(m) > 1', vanished: critical, runs: 3, for: 1d}\n")
	f.Add(head + "metrics: [{name: n, type: gauge, unit: b, summary: s}]\nforecasts:\n  - {name: f, title: t, metric: n, limit: -1e308, over: 290000h, min_history: 1s, within: 99999d, confidence: 1}\n")
	f.Add("name: &a web\nsummary: *a\n")
	f.Add("!!binary web")
	layers, err := os.ReadFile("testdata/layers.yaml")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	p, err := policy.Load(fstest.MapFS{"p.yaml": {Data: layers}}, specs, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse("web", text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") || !utf8.ValidString(err.Error()) || strings.Contains(err.Error(), "breaks the reader") {
				t.Errorf("%q", err)
			}
			return
		}
		book, _, err := p.Foreign("acme", d.Rules())
		if err != nil {
			t.Fatalf("with layers it is wrong: %v", err)
		}
		judge(t, book, d.Spec, now)
	})
}

func judge(t *testing.T, book *rules.Book, spec *checks.Spec, now time.Time) {
	var columns []rules.Column
	var values []float64
	for _, m := range spec.Metrics {
		c := rules.Column{Name: m.Name}
		for _, l := range m.Labels {
			c.Labels = append(c.Labels, checks.Label{Name: l, Value: "a"})
		}
		columns, values = append(columns, c), append(values, float64(len(columns)))
	}
	subject := rules.Subject{Customer: "acme", Host: "h", Check: "web", Item: "i", Role: "server"}
	program, err := book.Program(subject, columns)
	if err != nil {
		t.Fatal(err)
	}
	if book.Bytes("web") <= 0 {
		t.Error("it takes no memory")
	}
	var m rules.Machine
	for i := range 3 {
		at := now.Add(time.Duration(i) * time.Minute)
		out, _ := program.Judge(&m, &rules.Observation{Values: values, Received: at, NextWithin: time.Minute}, nil)
		for _, tr := range out {
			program.Rule(tr.Rule).TitleFor(subject, "h")
		}
		for v := range values {
			values[v]++
		}
	}
	points := []rules.Point{{At: now.Add(-48 * time.Hour), Value: 1}, {At: now.Add(-24 * time.Hour), Value: 2}, {At: now, Value: 3}}
	for _, f := range program.Forecasts() {
		program.Forecast(f, &m, points, now.Add(3*time.Minute), nil)
	}
	program.Explain(&m)
	program.Vanish(&m, now.Add(time.Hour), nil)
}
