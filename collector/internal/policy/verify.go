package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// verify holds what a layer says of checks to their declarations; rules are the
// book's to verify.
func (p *Policy) verify(l *layer) []error {
	var errs []error
	byName := func(a, b taskName) int { return strings.Compare(a.String(), b.String()) }
	for _, name := range slices.SortedFunc(maps.Keys(l.tasks), byName) {
		if name.check != everyCheck {
			errs = append(errs, p.verifyTask(l, name)...)
		}
	}
	for _, section := range []map[string]map[string]rules.Patch{l.rules, l.forecasts} {
		for _, check := range slices.Sorted(maps.Keys(section)) {
			if p.spec(check) == nil {
				errs = append(errs, p.unknown(l.at, check)...)
			}
		}
	}
	return errs
}

func (p *Policy) verifyTask(l *layer, name taskName) []error {
	spec, patch := p.spec(name.check), l.tasks[name]
	if spec == nil {
		return p.unknown(firstOf(patch, l.at), name.check)
	}
	var errs []error
	for _, param := range slices.Sorted(maps.Keys(patch.params)) {
		if err := verifyParam(spec, param, patch.params[param]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", patch.set["params."+param], err))
		}
	}
	return errs
}

// firstOf is the place of the first thing that is said of a task.
func firstOf(p *taskPatch, otherwise rules.Origin) rules.Origin {
	if len(p.set) == 0 {
		return otherwise
	}
	return slices.MinFunc(slices.Collect(maps.Values(p.set)), func(a, b rules.Origin) int { return a.Line - b.Line })
}

// verifyParam verifies one parameter by itself: what else is required may come from
// other layers, from discovery, or from the machine's own file.
func verifyParam(spec *checks.Spec, name string, values []string) error {
	alone := *spec
	alone.Parameters = slices.Clone(spec.Parameters)
	for i := range alone.Parameters {
		p := &alone.Parameters[i]
		p.Required = false
		if p.Name == name && p.Local {
			return fmt.Errorf("parameter %s of %s is set in the machine's own file only", name, spec.Name)
		}
	}
	_, err := alone.Params(checks.Params{name: values})
	return err //nolint:wrapcheck // it names check, parameter and what would be right
}

// unknown answers for a check that is not declared: an error when it looks like a
// slip of the pen, otherwise a notice, since agents may declare it later.
func (p *Policy) unknown(at rules.Origin, check string) []error {
	for _, s := range p.declared() {
		if near(s.Name, check) {
			return []error{fmt.Errorf("%s: there is no check %s; %s is meant, probably", at, check, s.Name)}
		}
	}
	p.notices = append(p.notices, fmt.Sprintf("%s: no check %s is known yet; this counts once an agent declares it", at, check))
	return nil
}

// near says whether one name becomes the other by one letter added, left out,
// changed, or swapped with its neighbour.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch {
	case a == b || len(b) < 3 || len(b)-len(a) > 1:
		return false
	case len(a) < len(b):
		return a[i:] == b[i+1:]
	case a[i+1:] == b[i+1:]:
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// places finds where a built-in declaration says what. Of one that is not built in
// only the check's name is known.
func places(spec *checks.Spec) func(section, name, field string) rules.Origin {
	origin := rules.Origin{Layer: levelDefault, File: "the declaration of " + spec.Name}
	data, err := checks.DeclarationFile(spec.Name)
	var doc yaml.Node
	if err != nil || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return func(string, string, string) rules.Origin { return origin }
	}
	origin.File = "checks/" + spec.Name + "/check.yaml"
	return func(section, name, field string) rules.Origin {
		o := origin
		if list := valueOf(doc.Content[0], section); list != nil {
			for _, entry := range list.Content {
				if n := valueOf(entry, "name"); n != nil && n.Value == name {
					o.Line = entry.Line
					if v := valueOf(entry, field); v != nil {
						o.Line = v.Line
					}
				}
			}
		}
		return o
	}
}

// valueOf returns the value of a mapping's key, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
