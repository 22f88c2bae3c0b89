package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// layer is one entry of a policy file.
type layer struct {
	match  match
	at     rules.Origin // its beginning
	reason string
	until  time.Time
	tasks  map[taskName]*taskPatch
	// rules and forecasts are patches by check and name.
	rules, forecasts map[string]map[string]rules.Patch
}

// taskName is a check with its instance; check "*" stands for every built-in one.
type taskName struct{ check, instance string }

func (n taskName) String() string {
	if n.instance == "" {
		return n.check
	}
	return n.check + "/" + n.instance
}

const everyCheck = "*"

// taskPatch is what a layer says of a task; set holds the fields that it gives.
type taskPatch struct {
	enabled           bool
	interval, timeout checks.Duration
	params            map[string][]string
	set               map[string]rules.Origin // by field: interval, params.exclude
}

// The bounds of what a layer may ask of an agent, which has the same.
const (
	minInterval      = checks.Duration(time.Second)
	minTimeout       = checks.Duration(time.Millisecond)
	maxInterval      = checks.Duration(30 * 24 * time.Hour)
	maxTimeout       = checks.Duration(time.Hour)
	maxInstanceBytes = 100
)

// layers reads a policy file.
func (r *reader) layers(data []byte) []*layer {
	doc := r.document(data)
	if doc == nil {
		return nil
	}
	var out []*layer
	for _, n := range r.list(doc, "the file") {
		out = append(out, r.layer(n))
	}
	return out
}

func (r *reader) layer(n *yaml.Node) *layer {
	l := &layer{}
	var tasks, ruleNodes, forecastNodes *yaml.Node
	keep := func(to **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *to = n } }
	r.keys(n, "a layer", map[string]func(*yaml.Node){
		"match":     func(n *yaml.Node) { l.match = r.match(n) },
		"reason":    parsed(r, "reason", &l.reason, reason),
		"until":     parsed(r, "until", &l.until, end),
		"checks":    keep(&tasks),
		"rules":     keep(&ruleNodes),
		"forecasts": keep(&forecastNodes),
	})
	l.at = rules.Origin{Layer: levels[l.match.rank()], File: r.file, Line: n.Line, Reason: l.reason, Until: l.until}
	if tasks == nil && ruleNodes == nil && forecastNodes == nil && n.Kind == yaml.MappingNode {
		r.bad(n, "a layer that changes nothing; give it checks, rules or forecasts")
	}
	if !l.until.IsZero() && l.reason == "" {
		r.bad(n, "a layer with until has no reason; say why it is there")
	}
	if tasks != nil {
		l.tasks = r.tasks(tasks, l)
	}
	if ruleNodes != nil {
		l.rules = r.patches(ruleNodes, "rules", l, r.rule)
	}
	if forecastNodes != nil {
		l.forecasts = r.patches(forecastNodes, "forecasts", l, r.forecast)
	}
	return l
}

// from is the origin of what stands at a node of the layer.
func (l *layer) from(n *yaml.Node) rules.Origin {
	o := l.at
	o.Line = n.Line
	return o
}

func (r *reader) tasks(n *yaml.Node, l *layer) map[taskName]*taskPatch {
	if len(l.match.item) > 0 {
		r.bad(n, "checks are set for hosts; a layer that matches an item can change rules and forecasts only")
	}
	out := make(map[taskName]*taskPatch)
	r.group(n, "checks", func(key, value *yaml.Node) {
		check, instance, named := strings.Cut(key.Value, "/")
		name := taskName{check, instance}
		if named && !validInstance(instance) || check == "" || check == everyCheck && named {
			r.bad(key, "%q is no check; use its name, name/instance, or \"*\" for all", key.Value)
			return
		}
		out[name] = r.task(value, name, l)
	})
	return out
}

func validInstance(name string) bool {
	return name != "" && len(name) <= maxInstanceBytes && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

func (r *reader) task(n *yaml.Node, name taskName, l *layer) *taskPatch {
	p := &taskPatch{params: make(map[string][]string), set: make(map[string]rules.Origin)}
	given := func(field string, read func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) {
			p.set[field] = l.from(n)
			read(n)
		}
	}
	r.keys(n, "check "+name.String(), map[string]func(*yaml.Node){
		"enabled":  given("enabled", parsed(r, "enabled", &p.enabled, truth)),
		"interval": given("interval", parsed(r, "interval", &p.interval, within(minInterval, maxInterval))),
		"timeout":  given("timeout", parsed(r, "timeout", &p.timeout, within(minTimeout, maxTimeout))),
		"params": func(n *yaml.Node) {
			if name.check == everyCheck {
				r.bad(n, `"*" has no params, since each check has its own; give interval, timeout or enabled`)
				return
			}
			r.group(n, "params", func(key, value *yaml.Node) {
				var values []string
				r.words("params: "+key.Value, &values)(value)
				p.params[key.Value], p.set["params."+key.Value] = values, l.from(key)
			})
		},
	})
	return p
}

func within(least, most checks.Duration) func(string) (checks.Duration, error) {
	return func(s string) (checks.Duration, error) {
		d, err := duration(s)
		if err == nil && (d < least || d > most) {
			err = fmt.Errorf("%s is not between %s and %s", d, least, most)
		}
		return d, err
	}
}

// patches reads what a section says, by check and by rule.
func (r *reader) patches(
	n *yaml.Node, section string, l *layer, read func(n *yaml.Node, what string, p *rules.Patch) map[string]func(*yaml.Node),
) map[string]map[string]rules.Patch {
	out := make(map[string]map[string]rules.Patch)
	r.group(n, section, func(check, value *yaml.Node) {
		out[check.Value] = make(map[string]rules.Patch)
		r.group(value, section+" of "+check.Value, func(name, value *yaml.Node) {
			p := rules.Patch{Set: make(map[string]rules.Origin)}
			what := fmt.Sprintf("%s of %s", name.Value, check.Value)
			r.patch(value, what, l, &p, read(value, what, &p))
			out[check.Value][name.Value] = p
		})
	})
	return out
}

// patch reads the fields of one rule or forecast, and what is common to both.
func (r *reader) patch(n *yaml.Node, what string, l *layer, p *rules.Patch, fields map[string]func(*yaml.Node)) {
	why, until := l.reason, l.until
	for name, read := range fields {
		fields[name] = func(n *yaml.Node) {
			p.Set[name] = l.from(n)
			read(n)
		}
	}
	disabled := parsed(r, what+", disabled", &p.Disabled, truth)
	fields["disabled"] = func(n *yaml.Node) {
		p.Set["disabled"] = l.from(n)
		disabled(n)
	}
	fields["reason"] = parsed(r, what+", reason", &why, reason)
	fields["until"] = parsed(r, what+", until", &p.Until, end)
	r.keys(n, what, fields)
	if !p.Until.IsZero() && (until.IsZero() || p.Until.Before(until)) {
		until = p.Until
	}
	if p.Disabled && why == "" {
		r.bad(n, "%s is disabled without a reason; add reason", what)
	}
	if p.Disabled && until.IsZero() && l.match.rank() > 0 {
		r.bad(n, "%s is disabled for %s without an end; add until, such as 2026-03-31", what, &l.match)
	}
	for name, o := range p.Set {
		o.Reason, o.Until = why, until
		p.Set[name] = o
	}
}

func (r *reader) rule(_ *yaml.Node, what string, p *rules.Patch) map[string]func(*yaml.Node) {
	s := &p.Rule
	as := func(name string) string { return what + ", " + name }
	return map[string]func(*yaml.Node){
		"title":     parsed(r, as("title"), &s.Title, text),
		"warning":   parsed(r, as("warning"), &s.Warning, text),
		"critical":  parsed(r, as("critical"), &s.Critical, text),
		"clear":     parsed(r, as("clear"), &s.Clear, text),
		"for":       parsed(r, as("for"), &s.For, duration),
		"clear_for": parsed(r, as("clear_for"), &s.ClearFor, duration),
		"runs":      parsed(r, as("runs"), &s.Runs, whole),
		"opens":     parsed(r, as("opens"), &s.Opens, text),
		"makes":     parsed(r, as("makes"), &s.Makes, text),
		"category":  parsed(r, as("category"), &s.Category, text),
		"impact":    parsed(r, as("impact"), &s.Impact, text),
		"urgency":   parsed(r, as("urgency"), &s.Urgency, text),
		"vanished":  parsed(r, as("vanished"), &s.Vanished, text),
	}
}

func (r *reader) forecast(_ *yaml.Node, what string, p *rules.Patch) map[string]func(*yaml.Node) {
	s := &p.Forecast
	as := func(name string) string { return what + ", " + name }
	return map[string]func(*yaml.Node){
		"title":       parsed(r, as("title"), &s.Title, text),
		"metric":      parsed(r, as("metric"), &s.Metric, text),
		"limit":       parsed(r, as("limit"), &s.Limit, number),
		"over":        parsed(r, as("over"), &s.Over, duration),
		"min_history": parsed(r, as("min_history"), &s.MinHistory, duration),
		"within":      parsed(r, as("within"), &s.Within, duration),
		"confidence":  parsed(r, as("confidence"), &s.Confidence, number),
		"when":        parsed(r, as("when"), &s.When, text),
		"category":    parsed(r, as("category"), &s.Category, text),
		"impact":      parsed(r, as("impact"), &s.Impact, text),
		"urgency":     parsed(r, as("urgency"), &s.Urgency, text),
	}
}

// active says whether the layer holds at a time.
func (l *layer) active(now time.Time) bool { return l.until.IsZero() || now.Before(l.until) }

// ends lists when the layer, or a part of it, ends.
func (l *layer) ends() []time.Time {
	out := []time.Time{l.until}
	for _, section := range []map[string]map[string]rules.Patch{l.rules, l.forecasts} {
		for _, patches := range section {
			for _, p := range patches {
				out = append(out, p.Until)
			}
		}
	}
	return slices.DeleteFunc(out, time.Time.IsZero)
}
