package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// Rule is what a ticket is made with: a compiled rule or forecast as it applies to
// one subject.
type Rule struct {
	Name string
	// Title is as written, with {{item}} and {{host}}; TitleFor fills them in.
	Title                     string
	Category, Impact, Urgency string
	// Opens is the level from which the rule makes a ticket: "critical", "warning" or
	// "none". Makes is what it makes: "incident" or "problem".
	Opens, Makes string

	warning, critical, clear *condition
	hold, clearHold          int64 // ms
	runs                     int32
	vanished                 Level // what the item's vanishing is; OK is an ending
	forecast                 *Forecast
	origin                   map[string]Origin
	off                      string // why the rule is switched off
}

// TitleFor renders the title for a subject. Where the check has a single subject,
// {{item}} is the check's name.
func (r *Rule) TitleFor(s Subject, host string) string {
	item := s.Item
	if item == "" {
		item = s.Check
		if s.Instance != "" {
			item = s.Instance
		}
	}
	return strings.NewReplacer("{{item}}", item, "{{host}}", host).Replace(r.Title)
}

// OpensAt says whether a level makes a ticket.
func (r *Rule) OpensAt(l Level) bool {
	switch r.Opens {
	case "warning":
		return l == Warning || l == Critical
	case "none":
		return false
	}
	return l == Critical
}

// Forecast says whether this is a rule over history, judged by Forecast.Judge.
func (r *Rule) Forecast() bool { return r.forecast != nil }

// Origins says where each field that the rule has comes from, by its name in YAML.
func (r *Rule) Origins() map[string]Origin { return r.origin }

// Origin is where a value comes from: a declaration's default or a layer of policy.
type Origin struct {
	// Layer is default, msp, customer, site, label, host or item.
	Layer string `json:"layer"`
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	// Reason and Until are those of an exemption; Until is exclusive.
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// String writes file:line, or the file alone where the line is not known.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// Patch is what one layer, or a declaration, says of one rule or forecast. Set
// names the fields that it gives, by their names in YAML; "disabled" among them
// switches the rule off or, when Disabled is false, on again. A patch with an Until
// holds before that time only.
type Patch struct {
	Rule     checks.RuleSpec     // of a rule
	Forecast checks.ForecastSpec // of a forecast
	Disabled bool
	Set      map[string]Origin
	Until    time.Time
}

// FullPatch gives every field of a declared rule that is not empty. line says where
// a field stands, 0 when that is not known.
func FullPatch(spec checks.RuleSpec, at func(field string) Origin) Patch {
	p := Patch{Rule: spec, Set: make(map[string]Origin)}
	for _, f := range ruleFields() {
		if f.has(&spec) {
			p.Set[f.name] = at(f.name)
		}
	}
	return p
}

// FullForecast gives every field of a declared forecast that is not empty.
func FullForecast(spec checks.ForecastSpec, at func(field string) Origin) Patch {
	p := Patch{Forecast: spec, Set: make(map[string]Origin)}
	for _, f := range forecastFields() {
		if f.has(&spec) {
			p.Set[f.name] = at(f.name)
		}
	}
	return p
}

// field is one field of a spec: how it is copied, whether it is filled, and how it
// reads.
type field[S any] struct {
	name string
	copy func(to, from *S)
	has  func(*S) bool
	text func(*S) string
}

func fieldOf[S any, V comparable](name string, of func(*S) *V) field[S] {
	var zero V
	return field[S]{
		name: name,
		copy: func(to, from *S) { *of(to) = *of(from) },
		has:  func(s *S) bool { return *of(s) != zero },
		text: func(s *S) string { return fmt.Sprint(*of(s)) },
	}
}

func ruleFields() []field[checks.RuleSpec] {
	type S = checks.RuleSpec
	return []field[S]{
		fieldOf("title", func(s *S) *string { return &s.Title }),
		fieldOf("warning", func(s *S) *string { return &s.Warning }),
		fieldOf("critical", func(s *S) *string { return &s.Critical }),
		fieldOf("clear", func(s *S) *string { return &s.Clear }),
		fieldOf("for", func(s *S) *checks.Duration { return &s.For }),
		fieldOf("clear_for", func(s *S) *checks.Duration { return &s.ClearFor }),
		fieldOf("runs", func(s *S) *int { return &s.Runs }),
		fieldOf("opens", func(s *S) *string { return &s.Opens }),
		fieldOf("makes", func(s *S) *string { return &s.Makes }),
		fieldOf("category", func(s *S) *string { return &s.Category }),
		fieldOf("impact", func(s *S) *string { return &s.Impact }),
		fieldOf("urgency", func(s *S) *string { return &s.Urgency }),
		fieldOf("vanished", func(s *S) *string { return &s.Vanished }),
	}
}

func forecastFields() []field[checks.ForecastSpec] {
	type S = checks.ForecastSpec
	return []field[S]{
		fieldOf("title", func(s *S) *string { return &s.Title }),
		fieldOf("metric", func(s *S) *string { return &s.Metric }),
		fieldOf("limit", func(s *S) *float64 { return &s.Limit }),
		fieldOf("over", func(s *S) *checks.Duration { return &s.Over }),
		fieldOf("min_history", func(s *S) *checks.Duration { return &s.MinHistory }),
		fieldOf("within", func(s *S) *checks.Duration { return &s.Within }),
		fieldOf("confidence", func(s *S) *float64 { return &s.Confidence }),
		fieldOf("when", func(s *S) *string { return &s.When }),
		fieldOf("category", func(s *S) *string { return &s.Category }),
		fieldOf("impact", func(s *S) *string { return &s.Impact }),
		fieldOf("urgency", func(s *S) *string { return &s.Urgency }),
	}
}

// merged is a rule or forecast with all its layers applied.
type merged struct {
	rule     checks.RuleSpec
	forecast checks.ForecastSpec
	disabled bool
	origin   map[string]Origin
}

func (m *merged) apply(p *Patch) {
	if m.origin == nil {
		m.origin = make(map[string]Origin)
	}
	for _, f := range ruleFields() {
		if o, ok := p.Set[f.name]; ok {
			f.copy(&m.rule, &p.Rule)
			m.origin[f.name] = o
		}
	}
	for _, f := range forecastFields() {
		if o, ok := p.Set[f.name]; ok {
			f.copy(&m.forecast, &p.Forecast)
			m.origin[f.name] = o
		}
	}
	if o, ok := p.Set["disabled"]; ok {
		m.disabled = p.Disabled
		m.origin["disabled"] = o
	}
}

var (
	ruleNameRE    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	placeholderRE = regexp.MustCompile(`\{\{.*?\}\}`)
	wordRE        = regexp.MustCompile(`^[a-z][a-z -]*$`)
)

// levelWords are what opens and vanished choose from.
func oneOf(what, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s is %q; use one of %s", what, value, strings.Join(allowed, ", "))
}

// checkTitle refuses placeholders that nothing fills in.
func checkTitle(title string) error {
	if title == "" {
		return fmt.Errorf("title is empty; it is what a ticket will be called")
	}
	for _, p := range placeholderRE.FindAllString(title, -1) {
		if p != "{{item}}" && p != "{{host}}" {
			return fmt.Errorf("title has %s; only {{item}} and {{host}} are filled in", p)
		}
	}
	return nil
}

// checkRuleField verifies one field that a patch gives.
func checkRuleField(name string, s *checks.RuleSpec, spec *checks.Spec) error {
	switch name {
	case "title":
		return checkTitle(s.Title)
	case "warning":
		return checkCondition(s.Warning, spec)
	case "critical":
		return checkCondition(s.Critical, spec)
	case "clear":
		return checkCondition(s.Clear, spec)
	case "for", "clear_for":
		if s.For < 0 || s.ClearFor < 0 {
			return fmt.Errorf("%s is below zero", name)
		}
	case "runs":
		if s.Runs < 0 || s.Runs > 1000 {
			return fmt.Errorf("runs is %d; use 1 to 1000", s.Runs)
		}
	case "opens":
		return oneOf(name, s.Opens, "critical", "warning", "none")
	case "makes":
		return oneOf(name, s.Makes, "incident", "problem")
	case "vanished":
		return oneOf(name, s.Vanished, "critical", "warning", "ends")
	case "category":
		return checkWord(name, s.Category)
	case "impact":
		return checkWord(name, s.Impact)
	case "urgency":
		return checkWord(name, s.Urgency)
	}
	return nil
}

// checkCondition accepts an empty condition, which a layer uses to take one away.
func checkCondition(text string, spec *checks.Spec) error {
	if text == "" {
		return nil
	}
	_, err := compile(text, spec)
	return err
}

// checkWord verifies a category, impact or urgency; which there are is for the
// service level to say.
func checkWord(what, value string) error {
	if !wordRE.MatchString(value) {
		return fmt.Errorf("%s is %q; use lower case words", what, value)
	}
	return nil
}

// checkForecastField verifies one field that a patch gives.
func checkForecastField(name string, s *checks.ForecastSpec, spec *checks.Spec) error {
	switch name {
	case "title":
		return checkTitle(s.Title)
	case "metric":
		m, err := (&compiler{spec: spec}).metric(s.Metric)
		if err == nil && len(m.Labels) > 0 {
			err = fmt.Errorf("metric %s has labels; a forecast follows one figure", s.Metric)
		}
		return err
	case "when":
		return checkCondition(s.When, spec)
	case "confidence":
		if !(s.Confidence >= 0 && s.Confidence <= 1) {
			return fmt.Errorf("confidence is %g; use 0 to 1", s.Confidence)
		}
	case "over":
		return positive(name, s.Over)
	case "min_history":
		return positive(name, s.MinHistory)
	case "within":
		return positive(name, s.Within)
	case "category":
		return checkWord(name, s.Category)
	case "impact":
		return checkWord(name, s.Impact)
	case "urgency":
		return checkWord(name, s.Urgency)
	}
	return nil
}

func positive(name string, d checks.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s must be above zero, such as 30d", name)
	}
	return nil
}
