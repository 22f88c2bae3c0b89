// Package declaration reads the declarations of checks that come with agents: those of
// plugins, which the collector has never seen. Their bytes are a stranger's. They are
// held to limits and to the digest that the agent's hello named before anything is made
// of them, and every rule is compiled, so that what Parse returns can be judged by.
//
// A built-in check is never described by an agent: whatever version the agent has, the
// collector judges it by its own declaration.
package declaration

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Limits of a declaration, beyond checks.MaxDeclarationBytes.
const (
	MaxMetrics        = 256
	MaxRules          = 64
	MaxForecasts      = 16
	MaxParameters     = 64
	MaxSteps          = 64
	MaxTextBytes      = 1024 // a summary, title, condition or default
	MaxConditionBytes = 8192 // all conditions together
	maxWordBytes      = 64   // a unit, a system, a category
	maxList           = 256  // defaults of a parameter, or values of an enum
	maxDepth          = 16   // of the YAML
	maxKeys           = 32   // of one mapping: decoding compares each with each
)

// Declaration is a declaration that keeps the limits and whose rules compile.
type Declaration struct {
	Spec   *checks.Spec
	YAML   []byte
	SHA256 [sha256.Size]byte
}

// Parse reads the declaration of a check. The error says what is wrong with it, in one
// line.
func Parse(check string, data []byte, digest [sha256.Size]byte) (d *Declaration, err error) {
	defer func() {
		// The parsers are other people's, and this is a stranger's text: a fault of theirs
		// costs the stranger its declaration, and nobody the collector.
		if r := recover(); r != nil {
			d, err = nil, fmt.Errorf("it breaks the reader: %.100q", fmt.Sprint(r))
		}
	}()
	if d, err = parse(check, data, digest); err != nil {
		return nil, errors.New(oneLine(err))
	}
	return d, nil
}

func parse(check string, data []byte, digest [sha256.Size]byte) (*Declaration, error) {
	switch {
	case len(data) > checks.MaxDeclarationBytes:
		return nil, fmt.Errorf("it has %d bytes; at most %d are allowed", len(data), checks.MaxDeclarationBytes)
	case sha256.Sum256(data) != digest:
		return nil, errors.New("it does not have the digest that the hello named")
	case !utf8.Valid(data):
		return nil, errors.New("it is not UTF-8")
	}
	if err := plain(data); err != nil {
		return nil, err
	}
	spec, err := checks.DecodeSpec(data)
	if err != nil {
		return nil, err
	}
	if spec.Name != check {
		return nil, fmt.Errorf("it declares the check %.64q", spec.Name)
	}
	if err := limits(spec); err != nil {
		return nil, err
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	d := &Declaration{Spec: spec, YAML: bytes.Clone(data), SHA256: digest}
	_, _, err = rules.NewForeignBook(d.Rules(), nil)
	return d, err
}

// Rules is the declaration as the rules take it, with the lines of what it says.
func (d *Declaration) Rules() rules.Declaration {
	return rules.Declaration{Spec: d.Spec, At: Places("the declaration of "+d.Spec.Name, d.YAML)}
}

// maxErrorBytes bounds an error: the texts in it are the stranger's.
const maxErrorBytes = 400

// oneLine makes an error fit for a finding: its beginning says where, its end why.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes/2] + " … " + text[len(text)-maxErrorBytes/2:]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// plain accepts one YAML document that means what it shows: without aliases, which can
// make a page of a line, and not nested beyond sense.
func plain(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("it is more than one document")
	}
	return plainNode(&doc, 0)
}

func plainNode(n *yaml.Node, depth int) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not allowed", n.Line)
	case n.Kind == yaml.MappingNode && len(n.Content) > 2*maxKeys:
		return fmt.Errorf("line %d: more than %d keys in one group", n.Line, maxKeys)
	case depth > maxDepth:
		return fmt.Errorf("line %d: it is nested deeper than %d", n.Line, maxDepth)
	}
	for _, c := range n.Content {
		if err := plainNode(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// limits holds a declaration to what a collector can afford to keep of a stranger.
func limits(s *checks.Spec) error {
	l := &limiter{}
	l.count("metrics", len(s.Metrics), MaxMetrics)
	l.count("rules", len(s.Rules), MaxRules)
	l.count("forecasts", len(s.Forecasts), MaxForecasts)
	l.count("parameters", len(s.Parameters), MaxParameters)
	l.count("steps", len(s.Steps), MaxSteps)
	l.count("systems", len(s.Systems), maxList)
	l.text("summary", s.Summary, MaxTextBytes)
	l.text("item", s.Item, MaxTextBytes)
	for _, system := range s.Systems {
		l.text("a system", system, maxWordBytes)
	}
	l.metrics(s.Metrics)
	l.parameters(s.Parameters)
	for _, st := range s.Steps {
		l.name("step", st.Name)
		l.text("the summary of step "+st.Name, st.Summary, MaxTextBytes)
	}
	for i := range s.Rules {
		l.rule(&s.Rules[i])
	}
	for i := range s.Forecasts {
		l.forecast(&s.Forecasts[i])
	}
	l.count("bytes of conditions", l.conditions, MaxConditionBytes)
	return l.err
}

// limiter keeps the first thing that breaks a limit.
type limiter struct {
	err        error
	conditions int // bytes
}

func (l *limiter) bad(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *limiter) count(what string, n, most int) {
	if n > most {
		l.bad("it has %d %s; at most %d are allowed", n, what, most)
	}
}

// text accepts what can be shown in one line of a page, a mail or a log.
func (l *limiter) text(what, text string, most int) {
	switch {
	case len(text) > most:
		l.bad("%s has %d bytes; at most %d are allowed", what, len(text), most)
	case strings.ContainsFunc(text, unicode.IsControl):
		l.bad("%s has control characters", what)
	}
}

func (l *limiter) name(what, name string) {
	if len(name) > checks.MaxNameBytes {
		l.bad("the %s %.16q… has a name of %d bytes; at most %d are allowed", what, name, len(name), checks.MaxNameBytes)
	}
	l.text("the name of a "+what, name, checks.MaxNameBytes)
}

func (l *limiter) metrics(all []checks.MetricSpec) {
	seen := make(map[string]bool, len(all))
	for i := range all {
		m := &all[i]
		l.name("metric", m.Name)
		if seen[m.Name] {
			l.bad("two metrics are called %s", m.Name)
		}
		seen[m.Name] = true
		l.text("the unit of metric "+m.Name, m.Unit, maxWordBytes)
		l.text("the summary of metric "+m.Name, m.Summary, MaxTextBytes)
		for _, label := range m.Labels {
			l.name("label", label)
		}
	}
}

func (l *limiter) parameters(all []checks.Parameter) {
	for i := range all {
		p := &all[i]
		l.name("parameter", p.Name)
		l.text("the summary of parameter "+p.Name, p.Summary, MaxTextBytes)
		p.Pattern = "" // for the agent to hold values to: matching a stranger's costs without bound
		l.text("the type of parameter "+p.Name, string(p.Type), maxWordBytes)
		l.count("defaults and values of parameter "+p.Name, len(p.Default)+len(p.Values), maxList)
		for _, v := range append(p.Default[:len(p.Default):len(p.Default)], p.Values...) {
			l.text("a value of parameter "+p.Name, v, MaxTextBytes)
		}
	}
}

func (l *limiter) rule(r *checks.RuleSpec) {
	l.name("rule", r.Name)
	l.text("the title of rule "+r.Name, r.Title, MaxTextBytes)
	for _, c := range []string{r.Warning, r.Critical, r.Clear} {
		l.condition(r.Name, c)
	}
	for _, w := range []string{r.Category, r.Impact, r.Urgency} {
		l.text("a word of rule "+r.Name, w, maxWordBytes)
	}
}

func (l *limiter) forecast(f *checks.ForecastSpec) {
	l.name("forecast", f.Name)
	l.text("the title of forecast "+f.Name, f.Title, MaxTextBytes)
	l.condition(f.Name, f.When)
	for _, w := range []string{f.Category, f.Impact, f.Urgency} {
		l.text("a word of forecast "+f.Name, w, maxWordBytes)
	}
	if f.Limit-f.Limit != 0 {
		l.bad("the limit of forecast %s is no number", f.Name)
	}
}

// condition bounds a condition. YAML folds long ones over several lines, so that line
// ends are no fault of it.
func (l *limiter) condition(of, text string) {
	l.conditions += len(text)
	if len(text) > MaxTextBytes {
		l.bad("a condition of %s has %d bytes; at most %d are allowed", of, len(text), MaxTextBytes)
	}
}
