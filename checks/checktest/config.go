package checktest

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
)

// badParameters holds that the declaration itself refuses nonsense, so that it
// never reaches the check.
func (s suite) badParameters(t *testing.T) {
	spec := s.check.Spec()
	s.mustRefuse(t, checks.Params{"no_such_parameter": {"1"}}, "no_such_parameter")
	for i := range spec.Parameters {
		p := &spec.Parameters[i]
		for _, value := range wrongValues(p) {
			given := s.with(p.Name, value)
			s.mustRefuse(t, given, p.Name)
		}
		if !p.List {
			s.mustRefuse(t, s.with(p.Name, "1", "2"), p.Name)
		}
		if p.Required {
			s.mustRefuse(t, s.with(p.Name), p.Name)
		}
	}
}

func (s suite) with(name string, values ...string) checks.Params {
	given := make(checks.Params, len(s.opts.Params)+1)
	maps.Copy(given, s.opts.Params)
	given[name] = values
	return given
}

func (s suite) mustRefuse(t *testing.T, given checks.Params, name string) {
	t.Helper()
	_, err := s.check.Spec().Params(given)
	if err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%s = %.80q must be refused with an error that names it, but gave: %v", name, given[name], err)
	}
}

// wrongValues are values that a parameter of this type can't have.
func wrongValues(p *checks.Parameter) []string {
	wrong := []string{strings.Repeat("x", checks.MaxParamBytes+1)}
	switch p.Type {
	case checks.TypeInt, checks.TypeFloat:
		wrong = append(wrong, "many", "NaN")
		if p.Min != nil {
			wrong = append(wrong, fmt.Sprintf("%d", int64(*p.Min)-1))
		}
		if p.Max != nil {
			wrong = append(wrong, fmt.Sprintf("%d", int64(*p.Max)+1))
		}
	case checks.TypeBool, checks.TypeDuration, checks.TypeEnum:
		wrong = append(wrong, "perhaps")
	case checks.TypePath:
		wrong = append(wrong, "relative/path")
	case checks.TypeString, checks.TypeSecret:
	}
	return wrong
}

func (s suite) refused(t *testing.T) {
	for _, refusal := range s.opts.Refused {
		ctx, cancel := s.context(t)
		run, err := s.run(t, ctx, s.env(t, refusal.Params))
		cancel()
		if err := refusedBy(run, err, refusal.Name); err != nil {
			t.Errorf("%v must be refused: %v", refusal.Params, err)
		}
	}
}
