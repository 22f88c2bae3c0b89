package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/declaration"
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
				p.noteUnknown(l.at, check)
			}
		}
	}
	return errs
}

func (p *Policy) verifyTask(l *layer, name taskName) []error {
	spec, patch := p.spec(name.check), l.tasks[name]
	if spec == nil {
		p.noteUnknown(firstOf(patch, l.at), name.check)
		return nil
	}
	return verifyParams(spec, patch)
}

// verifyParams verifies what a layer says of a task's parameters.
func verifyParams(spec *checks.Spec, patch *taskPatch) []error {
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

// Unknown is a place in the policy that speaks of a check that is not built in: what it
// says counts once an agent declares the check, and is verified then.
type Unknown struct {
	At    rules.Origin
	Check string
	// Near is a built-in check whose name is one slip of the pen away, or empty.
	Near string
}

// String says so in one line, with file and line.
func (u Unknown) String() string {
	s := fmt.Sprintf("%s: no check %s is built in; what this says counts, and is verified, once an agent declares it", u.At, u.Check)
	if u.Near != "" {
		s += "; or is " + u.Near + " meant?"
	}
	return s
}

// Unknown lists the places that speak of checks that are not built in.
func (p *Policy) Unknown() []Unknown { return slices.Clone(p.unknown) }

func (p *Policy) noteUnknown(at rules.Origin, check string) {
	u := Unknown{At: at, Check: check}
	for _, s := range p.specs {
		if near(s.Name, check) {
			u.Near = s.Name
			break
		}
	}
	p.unknown = append(p.unknown, u)
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

// places finds where a built-in declaration says what.
func places(spec *checks.Spec) func(section, name, field string) rules.Origin {
	data, err := checks.DeclarationFile(spec.Name)
	if err != nil {
		return declaration.Places("the declaration of "+spec.Name, nil)
	}
	return declaration.Places("checks/"+spec.Name+"/check.yaml", data)
}
