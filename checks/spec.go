package checks

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Spec is a check's declaration, read from its check.yaml: the agent validates
// runs against it, the collector takes its default rules from it, and the list of
// checks that people read is printed from it.
type Spec struct {
	Name    string `yaml:"name" json:"name"`
	Summary string `yaml:"summary" json:"summary"`
	// Item names what one result is about ("mount point"), or is empty when the
	// check has a single subject.
	Item string `yaml:"item" json:"item,omitempty"`
	// Interval and Timeout are used where the policy says nothing else.
	Interval Duration `yaml:"interval" json:"interval"`
	Timeout  Duration `yaml:"timeout" json:"timeout"`
	// Systems lists the values of GOOS on which the check works.
	Systems []string `yaml:"systems" json:"systems"`
	// Steps names, in order, what the check verifies; a failed run names the first
	// that failed. Each may have a <step>_seconds metric.
	Steps      []Step         `yaml:"steps" json:"steps,omitempty"`
	Parameters []Parameter    `yaml:"parameters" json:"parameters,omitempty"`
	Metrics    []MetricSpec   `yaml:"metrics" json:"metrics,omitempty"`
	Rules      []RuleSpec     `yaml:"rules" json:"rules,omitempty"`
	Forecasts  []ForecastSpec `yaml:"forecasts" json:"forecasts,omitempty"`
}

// Step is one thing that a check verifies.
type Step struct {
	Name    string `yaml:"name" json:"name"`
	Summary string `yaml:"summary" json:"summary"`
}

// MetricSpec declares a metric that results may carry.
type MetricSpec struct {
	Name string `yaml:"name" json:"name"`
	Type string `yaml:"type" json:"type"` // gauge or counter
	// Unit is a base unit of Prometheus (https://prometheus.io/docs/practices/naming/#base-units)
	// or a thing counted: seconds, bytes, ratio, celsius, packets …
	Unit    string   `yaml:"unit" json:"unit"`
	Summary string   `yaml:"summary" json:"summary"`
	Labels  []string `yaml:"labels" json:"labels,omitempty"`
}

// RuleSpec is a rule as written: when a result is a warning or critical. Warning,
// Critical and Clear are expressions over the metrics of one result; the
// collector compiles them.
type RuleSpec struct {
	Name string `yaml:"name" json:"name"`
	// Title is an incident's title; {{item}} and {{host}} stand for the subject.
	Title    string `yaml:"title" json:"title"`
	Warning  string `yaml:"warning" json:"warning,omitempty"`
	Critical string `yaml:"critical" json:"critical,omitempty"`
	// Clear must hold before a warning or critical ends; by default the condition's
	// own end is enough.
	Clear string `yaml:"clear" json:"clear,omitempty"`
	// For is how long a condition must hold, ClearFor how long its end must.
	For      Duration `yaml:"for" json:"for,omitzero"`
	ClearFor Duration `yaml:"clear_for" json:"clear_for,omitzero"`
	// Runs is how many runs in a row must breach; 1 when unset.
	Runs int `yaml:"runs" json:"runs,omitempty"`
	// Vanished says what it means that the item is gone from a complete run: critical,
	// warning, or ends (default), which ends what was open as no longer observed.
	Vanished string `yaml:"vanished" json:"vanished,omitempty"`
	// Opens is the level from which the rule makes a ticket: critical (default),
	// warning, or none.
	Opens string `yaml:"opens" json:"opens,omitempty"`
	// Makes is what the ticket is: incident (default) or problem.
	Makes string `yaml:"makes" json:"makes,omitempty"`
	// Category, Impact and Urgency go to the ticket; priority follows from the
	// service level, never from the rule.
	Category string `yaml:"category" json:"category,omitempty"`
	Impact   string `yaml:"impact" json:"impact,omitempty"`
	Urgency  string `yaml:"urgency" json:"urgency,omitempty"`
}

// ForecastSpec is a rule over history: it makes a problem when the metric, by a
// linear fit over Over, reaches Limit within Within.
type ForecastSpec struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title" json:"title"`
	// Metric is a metric of this check; Limit is what it must not reach.
	Metric string  `yaml:"metric" json:"metric"`
	Limit  float64 `yaml:"limit" json:"limit"`
	// Over is the history that is fitted, MinHistory the least that suffices.
	Over       Duration `yaml:"over" json:"over"`
	MinHistory Duration `yaml:"min_history" json:"min_history"`
	Within     Duration `yaml:"within" json:"within"`
	// Confidence is the least coefficient of determination (R², 0 to 1) of the fit.
	Confidence float64 `yaml:"confidence" json:"confidence"`
	// When must hold for the newest result (free space that is low in absolute
	// terms, say), so that a slope alone raises nothing.
	When     string `yaml:"when" json:"when,omitempty"`
	Category string `yaml:"category" json:"category,omitempty"`
	Impact   string `yaml:"impact" json:"impact,omitempty"`
	Urgency  string `yaml:"urgency" json:"urgency,omitempty"`
}

// Duration is a time.Duration that also reads whole days: 90s, 10m, 24h, 30d.
type Duration time.Duration

// D returns the duration as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String writes the duration as it is read.
func (d Duration) String() string {
	const day = 24 * time.Hour
	if td := time.Duration(d); td != 0 && td%day == 0 {
		return strconv.FormatInt(int64(td/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// MarshalText writes the duration as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		const most = math.MaxInt64 / int64(24*time.Hour)
		n, err := strconv.ParseInt(days, 10, 64)
		if err == nil && n >= -most && n <= most {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	td, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s, 10m, 24h or 30d", text)
	}
	*d = Duration(td)
	return nil
}

// UnmarshalYAML reads a duration. Its error has the line, and the decoder goes on, so
// that a file's errors are all told at once.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	if err := d.UnmarshalText([]byte(node.Value)); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %v", node.Line, err)}}
	}
	return nil
}

var nameRE = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// ParseSpec reads a check.yaml. Unknown keys are errors; every error has its line.
func ParseSpec(data []byte) (*Spec, error) {
	s, err := DecodeSpec(data)
	if err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("check declaration %q: %w", s.Name, err)
	}
	return s, nil
}

// DecodeSpec reads a check.yaml without looking at what it says: for who has to hold a
// stranger's to limits before Check does any work on it.
func DecodeSpec(data []byte) (*Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("reading check declaration: %w", err)
	}
	return &s, nil
}

// Check says what is wrong with a declaration, all of it.
func (s *Spec) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameRE.MatchString(s.Name) || len(s.Name) > MaxNameBytes {
		bad("name must be lower case letters, digits and _, at most %d", MaxNameBytes)
	}
	if s.Interval <= 0 || s.Timeout <= 0 {
		bad("interval and timeout must be above zero")
	}
	for _, m := range s.Metrics {
		if !nameRE.MatchString(m.Name) || (m.Type != "gauge" && m.Type != "counter") || m.Unit == "" || m.Summary == "" {
			bad("metric %q needs a name, a type (gauge or counter), a unit and a summary", m.Name)
		}
		if len(m.Labels) > MaxLabels {
			bad("metric %q has %d labels; at most %d are allowed", m.Name, len(m.Labels), MaxLabels)
		}
	}
	for _, p := range s.Parameters {
		if !nameRE.MatchString(p.Name) || p.Summary == "" || p.Type == "" {
			bad("parameter %q needs a name, a type and a summary", p.Name)
		}
		if p.Type == TypeSecret && !p.Local {
			bad("parameter %q names a secret, so it must be local", p.Name)
		}
		if p.Type == TypeEnum && len(p.Values) == 0 {
			bad("parameter %q is an enum without values", p.Name)
		}
		for _, v := range p.Default {
			if _, err := p.value(v); err != nil {
				bad("default of parameter %q: %w", p.Name, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Metric returns the declaration of a metric, or nil.
func (s *Spec) Metric(name string) *MetricSpec {
	for i := range s.Metrics {
		if s.Metrics[i].Name == name {
			return &s.Metrics[i]
		}
	}
	return nil
}

// Validate holds a run to the declaration and to the limits. What breaks them is
// described; nothing is cut silently.
func (s *Spec) Validate(run *Run) error {
	if len(run.Results) > MaxResults {
		return fmt.Errorf("%s: %d results in one run; at most %d are allowed", s.Name, len(run.Results), MaxResults)
	}
	seen := make(map[string]struct{}, len(run.Results))
	for i := range run.Results {
		r := &run.Results[i]
		if _, dup := seen[r.Item]; dup {
			return fmt.Errorf("%s: two results for item %q", s.Name, r.Item)
		}
		seen[r.Item] = struct{}{}
		if err := s.validateResult(r); err != nil {
			return fmt.Errorf("%s %q: %w", s.Name, r.Item, err)
		}
	}
	return nil
}

func (s *Spec) validateResult(r *Result) error {
	switch {
	case r.Status > Unknown:
		return fmt.Errorf("no status has number %d", uint8(r.Status))
	case len(r.Item) > MaxItemBytes:
		return fmt.Errorf("the item's name has %d bytes; at most %d are allowed", len(r.Item), MaxItemBytes)
	case len(r.Summary) > MaxSummaryBytes:
		return fmt.Errorf("the summary has %d bytes; at most %d are allowed", len(r.Summary), MaxSummaryBytes)
	case len(r.Evidence) > MaxEvidenceBytes:
		return fmt.Errorf("the evidence has %d bytes; at most %d are allowed", len(r.Evidence), MaxEvidenceBytes)
	case len(r.Metrics) > MaxMetrics:
		return fmt.Errorf("%d metrics; at most %d are allowed", len(r.Metrics), MaxMetrics)
	}
	for i := range r.Metrics {
		if err := s.validateMetric(&r.Metrics[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) validateMetric(m *Metric) error {
	decl := s.Metric(m.Name)
	switch {
	case decl == nil:
		return fmt.Errorf("metric %q is not declared", m.Name)
	case decl.Type != m.Type.String():
		return fmt.Errorf("metric %q is a %s, but was declared a %s", m.Name, m.Type, decl.Type)
	case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
		return fmt.Errorf("metric %q is %v; a figure that could not be had is left out", m.Name, m.Value)
	case len(m.Labels) != len(decl.Labels):
		return fmt.Errorf("metric %q has %d labels, but declares %d", m.Name, len(m.Labels), len(decl.Labels))
	}
	for i, l := range m.Labels {
		if l.Name != decl.Labels[i] {
			return fmt.Errorf("label %d of metric %q is %q, but was declared %q", i+1, m.Name, l.Name, decl.Labels[i])
		}
		if len(l.Value) > MaxItemBytes {
			return fmt.Errorf("label %s of metric %q has %d bytes; at most %d are allowed", l.Name, m.Name, len(l.Value), MaxItemBytes)
		}
	}
	return nil
}

//go:embed */check.yaml
var declarations embed.FS

// Declarations returns the declarations of all built-in checks, by name.
func Declarations() ([]*Spec, error) {
	paths, err := fs.Glob(declarations, "*/check.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing check declarations: %w", err)
	}
	specs := make([]*Spec, 0, len(paths))
	for _, path := range paths {
		s, err := readDeclaration(path)
		if err != nil {
			return nil, err
		}
		specs = append(specs, s)
	}
	slices.SortFunc(specs, func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) })
	return specs, nil
}

// Names returns the names of all built-in checks, without reading their declarations.
func Names() []string {
	folders, _ := declarations.ReadDir(".") // it is compiled in
	names := make([]string, len(folders))
	for i, f := range folders {
		names[i] = f.Name()
	}
	return names
}

// Declaration returns the declaration of one built-in check.
func Declaration(name string) (*Spec, error) { return readDeclaration(name + "/check.yaml") }

// MustDeclaration is Declaration for a check's own constructor: a declaration is
// compiled in, so one that can't be read is a fault of the build.
func MustDeclaration(name string) *Spec {
	s, err := Declaration(name)
	if err != nil {
		panic(err)
	}
	return s
}

// DeclarationFile returns a built-in check's declaration as written, for error
// messages that name a line of it.
func DeclarationFile(name string) ([]byte, error) {
	data, err := declarations.ReadFile(name + "/check.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the declaration of check %q: %w", name, err)
	}
	return data, nil
}

func readDeclaration(path string) (*Spec, error) {
	data, err := declarations.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	s, err := ParseSpec(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
