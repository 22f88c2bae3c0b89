package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// ErrUndeclared says that no declaration of the check is known.
var ErrUndeclared = errors.New("the check is not declared")

// Declaration is a check's declaration with the places of what it says.
type Declaration struct {
	Spec *checks.Spec
	// At gives the place of a field of a rule or forecast; section is "rules" or
	// "forecasts".
	At func(section, name, field string) Origin
}

// Layer changes rules for the subjects that it matches. Patches are found by check,
// then by rule or forecast. With an Until it holds before that time only.
type Layer struct {
	Matches   func(*Subject) bool
	Until     time.Time
	Rules     map[string]map[string]Patch
	Forecasts map[string]map[string]Patch
}

// Book holds all rules of all checks with the layers that change them, verified. It
// does not change, and is safe for concurrent use.
type Book struct {
	checks map[string]*chapter

	mu       sync.Mutex
	programs map[string]*Program
}

// chapter is what the book has on one check.
type chapter struct {
	spec       *checks.Spec
	base       patches
	layers     []chapterLayer
	conditions map[string]*condition
}

// patches are what one layer says, by rule and by forecast.
type patches struct{ rules, forecasts map[string]Patch }

type chapterLayer struct {
	matches func(*Subject) bool
	until   time.Time
	patches
}

// NewBook compiles declarations and layers, lowest first. The error joins all that
// is wrong, each with its file and line. Layers may speak of checks that are not
// declared: that part is left out.
func NewBook(decls []Declaration, layers []Layer) (*Book, error) {
	b := &Book{checks: make(map[string]*chapter), programs: make(map[string]*Program)}
	var errs []error
	for i := range decls {
		c := newChapter(&decls[i], layers)
		b.checks[c.spec.Name] = c
		errs = append(errs, c.check()...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b, nil
}

// At returns the book as it holds at a time: without what has ended by then.
func (b *Book) At(now time.Time) *Book {
	out := &Book{checks: make(map[string]*chapter, len(b.checks)), programs: make(map[string]*Program)}
	for name, c := range b.checks {
		out.checks[name] = c.at(now)
	}
	return out
}

func (c *chapter) at(now time.Time) *chapter {
	ended := func(until time.Time) bool { return !until.IsZero() && !now.Before(until) }
	out := *c
	out.layers = nil
	for _, l := range c.layers {
		if ended(l.until) {
			continue
		}
		l.rules, l.forecasts = maps.Clone(l.rules), maps.Clone(l.forecasts)
		maps.DeleteFunc(l.rules, func(_ string, p Patch) bool { return ended(p.Until) })
		maps.DeleteFunc(l.forecasts, func(_ string, p Patch) bool { return ended(p.Until) })
		out.layers = append(out.layers, l)
	}
	return &out
}

func newChapter(d *Declaration, layers []Layer) *chapter {
	c := &chapter{
		spec:       d.Spec,
		base:       patches{make(map[string]Patch), make(map[string]Patch)},
		conditions: make(map[string]*condition),
	}
	for _, r := range d.Spec.Rules {
		c.base.rules[r.Name] = FullPatch(r, func(f string) Origin { return d.At("rules", r.Name, f) })
	}
	for _, f := range d.Spec.Forecasts {
		c.base.forecasts[f.Name] = FullForecast(f, func(n string) Origin { return d.At("forecasts", f.Name, n) })
	}
	for i := range layers {
		p := patches{layers[i].Rules[d.Spec.Name], layers[i].Forecasts[d.Spec.Name]}
		if len(p.rules)+len(p.forecasts) > 0 {
			c.layers = append(c.layers, chapterLayer{layers[i].Matches, layers[i].Until, p})
		}
	}
	return c
}

// check verifies every patch, and compiles the conditions on the way.
func (c *chapter) check() []error {
	errs := c.checkNames()
	all := append([]patches{c.base}, c.patches()...)
	for _, p := range all {
		for _, name := range slices.Sorted(maps.Keys(p.rules)) {
			errs = append(errs, c.checkRule(name, p.rules[name])...)
		}
		for _, name := range slices.Sorted(maps.Keys(p.forecasts)) {
			errs = append(errs, c.checkForecast(name, p.forecasts[name])...)
		}
	}
	for _, name := range c.ruleNames() {
		errs = append(errs, c.complete("rule", name, all, c.base.rules, func(p *patches) map[string]Patch { return p.rules })...)
	}
	for _, name := range c.forecastNames() {
		errs = append(errs,
			c.complete("forecast", name, all, c.base.forecasts, func(p *patches) map[string]Patch { return p.forecasts })...)
	}
	return errs
}

func (c *chapter) patches() []patches {
	out := make([]patches, len(c.layers))
	for i := range c.layers {
		out[i] = c.layers[i].patches
	}
	return out
}

func (c *chapter) checkNames() []error {
	var errs []error
	seen := make(map[string]bool)
	for _, name := range append(c.declared(), c.addedNames()...) {
		switch {
		case !ruleNameRE.MatchString(name):
			errs = append(errs, fmt.Errorf("check %s: %q is no name for a rule; use lower case letters, digits and _", c.spec.Name, name))
		case name == Freshness:
			errs = append(errs, fmt.Errorf("check %s: no rule can be called %s; that name is taken", c.spec.Name, Freshness))
		case seen[name]:
			errs = append(errs, fmt.Errorf("check %s: two rules or forecasts are called %s", c.spec.Name, name))
		}
		seen[name] = true
	}
	return errs
}

// declared lists the names in the declaration, repeated ones too.
func (c *chapter) declared() []string {
	var names []string
	for _, r := range c.spec.Rules {
		names = append(names, r.Name)
	}
	for _, f := range c.spec.Forecasts {
		names = append(names, f.Name)
	}
	return names
}

func (c *chapter) addedNames() []string {
	names := append(c.ruleNames(), c.forecastNames()...)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(c.declared(), n) })
}

// ruleNames lists all rules: declared ones in their order, then what layers add.
func (c *chapter) ruleNames() []string {
	var names []string
	for _, r := range c.spec.Rules {
		names = append(names, r.Name)
	}
	return c.withAdded(names, func(p *patches) map[string]Patch { return p.rules })
}

func (c *chapter) forecastNames() []string {
	var names []string
	for _, f := range c.spec.Forecasts {
		names = append(names, f.Name)
	}
	return c.withAdded(names, func(p *patches) map[string]Patch { return p.forecasts })
}

func (c *chapter) withAdded(names []string, of func(*patches) map[string]Patch) []string {
	var added []string
	for i := range c.layers {
		for name := range of(&c.layers[i].patches) {
			if !slices.Contains(names, name) && !slices.Contains(added, name) {
				added = append(added, name)
			}
		}
	}
	slices.Sort(added)
	return append(names, added...)
}

func (c *chapter) checkRule(name string, p Patch) []error {
	var errs []error
	for _, f := range slices.Sorted(maps.Keys(p.Set)) {
		if err := checkRuleField(f, &p.Rule, c.spec); err != nil {
			errs = append(errs, fmt.Errorf("%s: rule %s of %s, %s: %w", p.Set[f], name, c.spec.Name, f, err))
			continue
		}
		switch f {
		case "warning":
			c.keep(p.Rule.Warning)
		case "critical":
			c.keep(p.Rule.Critical)
		case "clear":
			c.keep(p.Rule.Clear)
		}
	}
	return errs
}

func (c *chapter) checkForecast(name string, p Patch) []error {
	var errs []error
	for _, f := range slices.Sorted(maps.Keys(p.Set)) {
		if err := checkForecastField(f, &p.Forecast, c.spec); err != nil {
			errs = append(errs, fmt.Errorf("%s: forecast %s of %s, %s: %w", p.Set[f], name, c.spec.Name, f, err))
		} else if f == "when" {
			c.keep(p.Forecast.When)
		}
	}
	return errs
}

// keep compiles a condition that has been verified.
func (c *chapter) keep(text string) {
	if text == "" || c.conditions[text] != nil {
		return
	}
	if cond, err := compile(text, c.spec); err == nil {
		c.conditions[text] = cond
	}
}

// complete verifies that a rule can be made from what is said of it: by the
// declaration or, for an added one, by at least one layer.
func (c *chapter) complete(
	kind, name string, all []patches, base map[string]Patch, of func(*patches) map[string]Patch,
) []error {
	var first string
	for i := range all {
		p, ok := of(&all[i])[name]
		if !ok {
			continue
		}
		m := merged{}
		m.apply(&p)
		if m.usable() {
			return nil
		}
		if first == "" {
			first = firstPlace(p)
		}
	}
	if _, declared := base[name]; declared {
		return []error{fmt.Errorf("%s: %s %s of %s lacks a part; %s", first, kind, name, c.spec.Name, needs(kind))}
	}
	return []error{fmt.Errorf("%s: check %s has no %s %s (it has: %s); for a new one, %s",
		first, c.spec.Name, kind, name, listed(slices.Sorted(maps.Keys(base))), needs(kind))}
}

func firstPlace(p Patch) string {
	var first Origin
	for _, o := range p.Set {
		if first.File == "" || o.Line < first.Line {
			first = o
		}
	}
	return first.String()
}

func needs(kind string) string {
	if kind == "forecast" {
		return "give title, metric, over, min_history and within"
	}
	return "give title and warning, critical or vanished"
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// usable says whether a rule or forecast can be made of what is merged.
func (m *merged) usable() bool {
	r, f := &m.rule, &m.forecast
	if f.Metric != "" {
		return f.Title != "" && f.Over > 0 && f.MinHistory > 0 && f.Within > 0
	}
	return r.Title != "" && (r.Warning != "" || r.Critical != "" || r.Vanished != "")
}

// maxPrograms bounds the cache: programs differ by columns, which agents choose.
const maxPrograms = 20000

// Program returns what judges a subject's results, with values in the order of cols.
// Subjects for which the same rules hold share it. The error is ErrUndeclared.
func (b *Book) Program(s Subject, cols []Column) (*Program, error) {
	c := b.checks[s.Check]
	if c == nil {
		return nil, fmt.Errorf("%w: %q", ErrUndeclared, s.Check)
	}
	layers := c.matching(&s)
	key := programKey(&s, layers, cols)
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.programs[key]; p != nil {
		return p, nil
	}
	p := c.program(&s, layers, cols)
	if len(b.programs) >= maxPrograms {
		clear(b.programs)
	}
	b.programs[key] = p
	return p, nil
}

// matching lists the layers that hold for a subject, by index.
func (c *chapter) matching(s *Subject) []int {
	var out []int
	for i := range c.layers {
		if c.layers[i].matches(s) {
			out = append(out, i)
		}
	}
	return out
}

func programKey(s *Subject, layers []int, cols []Column) string {
	k := make([]byte, 0, 256)
	k = strconv.AppendQuote(k, s.Check)
	k = strconv.AppendQuote(k, s.Role)
	for _, l := range layers {
		k = strconv.AppendInt(append(k, '+'), int64(l), 10)
	}
	for i := range cols {
		k = strconv.AppendQuote(append(k, '|'), cols[i].Name)
		for _, l := range cols[i].Labels {
			k = strconv.AppendQuote(k, l.Value)
		}
	}
	return string(k)
}
