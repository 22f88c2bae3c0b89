package sla

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// file is a service level as written. What may be wrong in itself is a text with its
// line; the shape is the library's to check.
type file struct {
	Name           text      `yaml:"name"`
	TimeZone       text      `yaml:"time_zone"`
	ServiceHours   week      `yaml:"service_hours"`
	Holidays       days      `yaml:"holidays"`
	Priorities     []class   `yaml:"priorities"`
	AroundTheClock []text    `yaml:"around_the_clock"`
	Matrix         yaml.Node `yaml:"matrix"`
	Otherwise      text      `yaml:"otherwise"`
}

type week struct {
	Monday    text `yaml:"monday"`
	Tuesday   text `yaml:"tuesday"`
	Wednesday text `yaml:"wednesday"`
	Thursday  text `yaml:"thursday"`
	Friday    text `yaml:"friday"`
	Saturday  text `yaml:"saturday"`
	Sunday    text `yaml:"sunday"`
}

type days struct {
	Country text   `yaml:"country"`
	Except  []text `yaml:"except"`
	Dates   []text `yaml:"dates"`
}

type class struct {
	Name    text `yaml:"name"`
	When    text `yaml:"when"`
	Respond text `yaml:"respond"`
	Resolve text `yaml:"resolve"`
}

// text is a scalar and where it stands.
type text struct {
	value string
	line  int
}

// UnmarshalYAML takes any scalar as it is written: 08:00 is not a number.
func (t *text) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: expected a single value", node.Line)}}
	}
	t.value, t.line = strings.TrimSpace(node.Value), node.Line
	return nil
}

// parser turns a file into a level, and collects what is wrong with it.
type parser struct {
	file  string
	level Level
	errs  []error
}

// Parse reads a service level. Unknown keys are errors; every error starts with the
// file's name and the line, and all of them are reported at once.
func Parse(name string, data []byte) (*Level, error) {
	p := parser{file: name}
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return nil, p.yamlError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document; a service level is one file", name)
	}
	p.read(&f)
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return &p.level, nil
}

func (p *parser) bad(line int, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %w", p.file, max(line, 1), fmt.Errorf(format, args...)))
}

var (
	lineRE  = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	fieldRE = regexp.MustCompile(`field (\S+) not found in type \S+`)
)

// yamlError puts the file's name and line before each of the library's messages.
func (p *parser) yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:1: the file is empty", p.file)
	}
	messages := []string{err.Error()}
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
		messages = typed.Errors
	}
	for _, m := range messages {
		line := 1
		if found := lineRE.FindStringSubmatch(m); found != nil {
			line, _ = strconv.Atoi(found[1])
			m = found[2]
		}
		p.bad(line, "%s", fieldRE.ReplaceAllString(m, "there is no key $1"))
	}
	return errors.Join(p.errs...)
}

func (p *parser) read(f *file) {
	l := &p.level
	l.name = f.Name.value
	if l.name == "" {
		p.bad(f.Name.line, "name is missing")
	}
	loc, err := time.LoadLocation(f.TimeZone.value)
	if err != nil || f.TimeZone.value == "" || f.TimeZone.value == "Local" {
		p.bad(f.TimeZone.line, "time_zone %q is not the name of a zone, such as Europe/Amsterdam", f.TimeZone.value)
		loc = time.UTC
	}
	l.always = aroundTheClock(loc)
	l.service = hours{loc: loc, week: p.week(&f.ServiceHours), holidays: p.holidays(&f.Holidays)}
	p.priorities(f.Priorities)
	p.around(f.AroundTheClock)
	p.matrix(&f.Matrix)
	l.otherwise = p.known(f.Otherwise, "otherwise")
}

func (p *parser) week(w *week) [7][]span {
	days := [7]text{w.Sunday, w.Monday, w.Tuesday, w.Wednesday, w.Thursday, w.Friday, w.Saturday}
	var parsed [7][]span
	open := false
	for i, day := range days {
		if day.value == "" {
			continue
		}
		open = true
		spans, err := parseSpans(day.value)
		if err != nil {
			p.bad(day.line, "%w", err)
		}
		parsed[i] = spans
	}
	if !open {
		p.bad(0, "service_hours has no hours at all")
	}
	return parsed
}

var spanRE = regexp.MustCompile(`^(\d\d):(\d\d)-(\d\d):(\d\d)$`)

// parseSpans reads "08:00-12:00, 13:00-17:00".
func parseSpans(s string) ([]span, error) {
	var spans []span
	end := 0
	for part := range strings.SplitSeq(s, ",") {
		m := spanRE.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%q is not a time such as 08:00-17:00", strings.TrimSpace(part))
		}
		var n [4]int
		for i := range n {
			n[i], _ = strconv.Atoi(m[i+1]) // two digits
		}
		from, to := n[0]*60+n[1], n[2]*60+n[3]
		if n[1] > 59 || n[3] > 59 || to > 24*60 || from >= to || from < end {
			return nil, fmt.Errorf("%q must end after it begins and after the span before it, at 24:00 at the latest", m[0])
		}
		spans, end = append(spans, span{from, to}), to
	}
	return spans, nil
}

func (p *parser) holidays(d *days) holidays {
	set := holidays{}
	if d.Country.value != "" {
		except := make([]string, len(d.Except))
		for i := range d.Except {
			except[i] = d.Except[i].value
		}
		list, err := countryHolidays(d.Country.value, except)
		if err != nil {
			p.bad(d.Country.line, "%w", err)
		}
		set.compute(list)
	} else if len(d.Except) > 0 {
		p.bad(d.Except[0].line, "except needs a country whose holidays it leaves out")
	}
	for _, t := range d.Dates {
		day, err := time.Parse(time.DateOnly, t.value)
		if err != nil {
			p.bad(t.line, "%q is not a date such as 2026-12-24", t.value)
			continue
		}
		set[dateOf(day)] = struct{}{}
	}
	return set
}

func (p *parser) priorities(list []class) {
	if len(list) == 0 {
		p.bad(0, "priorities is missing")
	}
	for i := range list {
		c := &list[i]
		if c.Name.value == "" {
			p.bad(c.Respond.line, "priority %d has no name", i+1)
			continue
		}
		if p.has(c.Name.value) {
			p.bad(c.Name.line, "priority %q is there twice", c.Name.value)
		}
		p.level.priorities = append(p.level.priorities, Priority{
			Name: c.Name.value, When: c.When.value,
			Respond: p.target(c, c.Respond, "respond"), Resolve: p.target(c, c.Resolve, "resolve"),
		})
	}
}

func (p *parser) target(c *class, t text, key string) Target {
	if t.line == 0 {
		p.bad(c.Name.line, "priority %q has no %s; write planned when there is no time to hold", c.Name.value, key)
		return Target{}
	}
	target, err := ParseTarget(t.value)
	if err != nil {
		p.bad(t.line, "%s: %w", key, err)
	}
	return target
}

func (p *parser) has(priority string) bool {
	return slices.ContainsFunc(p.level.priorities, func(known Priority) bool { return known.Name == priority })
}

// known returns the name of a priority that the level has.
func (p *parser) known(t text, key string) string {
	if !p.has(t.value) {
		p.bad(t.line, "%s: %q is not one of the priorities", key, t.value)
	}
	return t.value
}

func (p *parser) around(list []text) {
	p.level.around = make(map[string]bool, len(list))
	for _, t := range list {
		p.level.around[p.known(t, "around_the_clock")] = true
	}
	for i := range p.level.priorities {
		known := &p.level.priorities[i]
		known.AroundTheClock = p.level.around[known.Name]
	}
}

// matrix is read as nodes, because the order of its rows and columns is how pages
// list them.
func (p *parser) matrix(node *yaml.Node) {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		p.bad(node.Line, "matrix needs a line for each impact, such as high: {high: P1, low: P3}")
		return
	}
	for i := 0; i < len(node.Content); i += 2 {
		impact, columns := node.Content[i], node.Content[i+1]
		if slices.Contains(p.level.Impacts(), impact.Value) {
			p.bad(impact.Line, "impact %q is there twice", impact.Value)
			continue
		}
		p.level.matrix = append(p.level.matrix, row{impact.Value, p.row(impact, columns, i == 0)})
	}
}

// row reads one line of the matrix. The first one says which urgencies there are.
func (p *parser) row(impact, columns *yaml.Node, first bool) []string {
	if columns.Kind != yaml.MappingNode {
		p.bad(columns.Line, "impact %q needs a priority for each urgency, such as {high: P1, low: P3}", impact.Value)
		return make([]string, len(p.level.urgencies))
	}
	found := make(map[string]string)
	for i := 0; i < len(columns.Content); i += 2 {
		urgency, priority := columns.Content[i], columns.Content[i+1]
		if _, twice := found[urgency.Value]; twice {
			p.bad(urgency.Line, "urgency %q is there twice", urgency.Value)
			continue
		}
		if first {
			p.level.urgencies = append(p.level.urgencies, urgency.Value)
		} else if !slices.Contains(p.level.urgencies, urgency.Value) {
			p.bad(urgency.Line, "urgency %q is not in the first line of the matrix", urgency.Value)
		}
		found[urgency.Value] = p.known(text{priority.Value, priority.Line}, "matrix")
	}
	priorities := make([]string, len(p.level.urgencies))
	for i, urgency := range p.level.urgencies {
		priority, ok := found[urgency]
		if !ok {
			p.bad(impact.Line, "impact %q has no priority for urgency %q", impact.Value, urgency)
		}
		priorities[i] = priority
	}
	return priorities
}
