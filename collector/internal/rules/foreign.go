package rules

import (
	"errors"
	"maps"
	"slices"
)

// NewForeignBook compiles one declaration that came with an agent, and the layers that
// may speak of its check. An error is the declaration's own fault. What a layer says
// that does not fit the declaration is left out and told instead: layers are written
// for what people know, and a stranger's declaration must not spoil them.
func NewForeignBook(d Declaration, layers []Layer) (b *Book, unfit []error, err error) {
	alone := newChapter(&d, nil)
	if err := errors.Join(alone.check()...); err != nil {
		return nil, nil, err
	}
	c := newChapter(&d, layers)
	unfit = c.prune()
	if err := errors.Join(c.check()...); err != nil {
		return nil, nil, err
	}
	b = &Book{checks: map[string]*chapter{c.spec.Name: c}, programs: make(map[string]*Program)}
	return b, unfit, nil
}

// prune takes out of the layers what does not fit the declaration, and says why.
func (c *chapter) prune() []error {
	var unfit []error
	for i := range c.layers {
		l := &c.layers[i]
		l.rules, unfit = c.fitting(l.rules, unfit, func(name string, p Patch) patches {
			return patches{rules: map[string]Patch{name: p}}
		})
		l.forecasts, unfit = c.fitting(l.forecasts, unfit, func(name string, p Patch) patches {
			return patches{forecasts: map[string]Patch{name: p}}
		})
	}
	unfit = append(unfit, c.pruneIncomplete()...)
	if errs := c.checkNames(); len(errs) > 0 { // one layer's rule is another's forecast
		c.layers = nil
		unfit = append(unfit, errs...)
	}
	return unfit
}

// fitting returns those of a layer's patches that fit the declaration, each alone.
func (c *chapter) fitting(all map[string]Patch, unfit []error, alone func(string, Patch) patches) (map[string]Patch, []error) {
	out := make(map[string]Patch, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		only := alone(name, all[name])
		trial := chapter{spec: c.spec, base: c.base, layers: []chapterLayer{{patches: only}}, conditions: make(map[string]*condition)}
		errs := trial.checkNames()
		for n, p := range only.rules {
			errs = append(errs, trial.checkRule(n, p)...)
		}
		for n, p := range only.forecasts {
			errs = append(errs, trial.checkForecast(n, p)...)
		}
		if len(errs) == 0 {
			out[name] = all[name]
		}
		unfit = append(unfit, errs...)
	}
	return out, unfit
}

// pruneIncomplete takes out rules and forecasts that the declaration does not have and
// that no layer describes whole.
func (c *chapter) pruneIncomplete() []error {
	var unfit []error
	rulesOf := func(p *patches) map[string]Patch { return p.rules }
	forecastsOf := func(p *patches) map[string]Patch { return p.forecasts }
	all := append([]patches{c.base}, c.patches()...)
	drop := func(kind string, names []string, base map[string]Patch, of func(*patches) map[string]Patch) {
		for _, name := range names {
			errs := c.complete(kind, name, all, base, of)
			unfit = append(unfit, errs...)
			for i := range c.layers {
				if len(errs) > 0 {
					delete(of(&c.layers[i].patches), name)
				}
			}
		}
	}
	drop("rule", c.ruleNames(), c.base.rules, rulesOf)
	drop("forecast", c.forecastNames(), c.base.forecasts, forecastsOf)
	return unfit
}

// What a program is taken to hold, in bytes: of each node of its conditions, and of
// each rule.
const (
	nodeBytes = 160
	ruleBytes = 512
)

// Bytes is about the most memory that a program of the check takes: each layout of
// columns that agents send has one. A check that is not in the book takes none.
func (b *Book) Bytes(check string) int {
	c := b.checks[check]
	if c == nil {
		return 0
	}
	n := ruleBytes * (1 + len(c.ruleNames()) + len(c.forecastNames()))
	nodes := func(text string) int {
		if cond := c.conditions[text]; cond != nil {
			return cond.root.nodes()
		}
		return 0
	}
	for _, p := range append([]patches{c.base}, c.patches()...) {
		for _, r := range p.rules {
			n += nodeBytes * (nodes(r.Rule.Warning) + nodes(r.Rule.Critical) + nodes(r.Rule.Clear))
		}
		for _, f := range p.forecasts {
			n += nodeBytes * nodes(f.Forecast.When)
		}
	}
	return n
}

// nodes counts the nodes of a tree.
func (t *test) nodes() int {
	if t == nil {
		return 0
	}
	return 1 + t.a.nodes() + t.b.nodes() + t.x.nodes() + t.y.nodes() + t.z.nodes()
}

func (n *num) nodes() int {
	if n == nil {
		return 0
	}
	total := 1 + n.cond.nodes()
	for _, a := range n.args {
		total += a.nodes()
	}
	return total
}
