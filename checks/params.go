package checks

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParamType is the type of a parameter's values.
type ParamType string

// The types that a parameter may have, as check.yaml names them.
const (
	TypeString   ParamType = "string"
	TypeInt      ParamType = "int"
	TypeFloat    ParamType = "float"
	TypeBool     ParamType = "bool"
	TypeDuration ParamType = "duration" // Go's notation: 1m30s
	TypeEnum     ParamType = "enum"
	TypePath     ParamType = "path" // absolute, on the agent's machine
	// TypeSecret is the name of a credential of the agent's machine; such a parameter
	// must be local. A check in a process of its own gets the credentials that its
	// parameters of this type name, and no other.
	TypeSecret ParamType = "secret"
)

// Parameter declares one parameter of a check.
type Parameter struct {
	Name    string    `yaml:"name" json:"name"`
	Summary string    `yaml:"summary" json:"summary"`
	Type    ParamType `yaml:"type" json:"type"`
	// List allows any number of values instead of one.
	List bool `yaml:"list" json:"list,omitempty"`
	// Required refuses a run without a value; a parameter with a default is never required.
	Required bool     `yaml:"required" json:"required,omitempty"`
	Default  []string `yaml:"default" json:"default,omitempty"`
	// Values lists what an enum allows.
	Values []string `yaml:"values" json:"values,omitempty"`
	// Min and Max bound an int, a float, or a duration in seconds.
	Min *float64 `yaml:"min" json:"min,omitempty"`
	Max *float64 `yaml:"max" json:"max,omitempty"`
	// Pattern is a regular expression that a string must match as a whole.
	Pattern string `yaml:"pattern" json:"pattern,omitempty"`
	// Local parameters are taken from the machine's own file only, never from the
	// collector: whatever names a program, a file to read or a credential.
	Local bool `yaml:"local" json:"local,omitempty"`
}

// MaxParamBytes bounds one parameter value.
const MaxParamBytes = 1024

// MaxParamValues bounds the values of a list parameter.
const MaxParamValues = 256

// Params holds a check's parameter values, as text in canonical form. The
// accessors expect what Spec.Params has already verified.
type Params map[string][]string

// Has says whether the parameter has a value.
func (p Params) Has(name string) bool { return len(p[name]) > 0 }

// String returns the parameter's first value, or "".
func (p Params) String(name string) string {
	if v := p[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Strings returns all values of a list parameter.
func (p Params) Strings(name string) []string { return p[name] }

// Int returns the parameter as an integer, or 0.
func (p Params) Int(name string) int64 {
	n, _ := strconv.ParseInt(p.String(name), 10, 64)
	return n
}

// Float returns the parameter as a number, or 0.
func (p Params) Float(name string) float64 {
	f, _ := strconv.ParseFloat(p.String(name), 64)
	return f
}

// Bool returns the parameter as a truth value, or false.
func (p Params) Bool(name string) bool { return p.String(name) == "true" }

// Duration returns the parameter as a duration, or 0.
func (p Params) Duration(name string) time.Duration {
	d, _ := time.ParseDuration(p.String(name))
	return d
}

// Params verifies given values against the declaration and fills in defaults. The
// error names every parameter that is wrong and what would be right.
func (s *Spec) Params(given Params) (Params, error) {
	out := make(Params, len(s.Parameters))
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if s.parameter(name) == nil {
			wrong = append(wrong, fmt.Sprintf("%s has no parameter %q (it has: %s)", s.Name, name, s.parameterNames()))
		}
	}
	for i := range s.Parameters {
		p := &s.Parameters[i]
		values, err := p.values(given[p.Name])
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("parameter %s of %s: %v", p.Name, s.Name, err))
		} else if len(values) > 0 {
			out[p.Name] = values
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return out, nil
}

func (s *Spec) parameter(name string) *Parameter {
	for i := range s.Parameters {
		if s.Parameters[i].Name == name {
			return &s.Parameters[i]
		}
	}
	return nil
}

func (s *Spec) parameterNames() string {
	if len(s.Parameters) == 0 {
		return "none"
	}
	names := make([]string, len(s.Parameters))
	for i, p := range s.Parameters {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

func (p *Parameter) values(given []string) ([]string, error) {
	if len(given) == 0 {
		given = p.Default
	}
	switch {
	case len(given) == 0 && p.Required:
		return nil, fmt.Errorf("a value is required")
	case len(given) > 1 && !p.List:
		return nil, fmt.Errorf("takes one value, not %d", len(given))
	case len(given) > MaxParamValues:
		return nil, fmt.Errorf("takes at most %d values, not %d", MaxParamValues, len(given))
	}
	out := make([]string, len(given))
	for i, v := range given {
		canonical, err := p.value(v)
		if err != nil {
			return nil, err
		}
		out[i] = canonical
	}
	return out, nil
}

func (p *Parameter) value(v string) (string, error) {
	if len(v) > MaxParamBytes {
		return "", fmt.Errorf("a value has %d bytes; at most %d are allowed", len(v), MaxParamBytes)
	}
	switch p.Type {
	case TypeInt, TypeFloat, TypeDuration:
		return p.number(v)
	case TypeBool:
		b, err := strconv.ParseBool(v)
		if err != nil {
			return "", fmt.Errorf("%q is neither true nor false", v)
		}
		return strconv.FormatBool(b), nil
	case TypeEnum:
		if !slices.Contains(p.Values, v) {
			return "", fmt.Errorf("%q is not one of %s", v, strings.Join(p.Values, ", "))
		}
	case TypePath:
		if !absolutePath(v) {
			return "", fmt.Errorf("%q is not an absolute path", v)
		}
	case TypeString, TypeSecret:
	}
	if p.Pattern != "" {
		if ok, err := regexp.MatchString(`\A(?:`+p.Pattern+`)\z`, v); err != nil || !ok {
			return "", fmt.Errorf("%q does not match %s", v, p.Pattern)
		}
	}
	return v, nil
}

func (p *Parameter) number(v string) (string, error) {
	var (
		n    float64
		text string
	)
	switch p.Type {
	case TypeInt:
		i, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q is not a whole number", v)
		}
		n, text = float64(i), strconv.FormatInt(i, 10)
	case TypeDuration:
		d, err := time.ParseDuration(v)
		if err != nil {
			return "", fmt.Errorf("%q is not a duration such as 1m30s", v)
		}
		n, text = d.Seconds(), d.String()
	default:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return "", fmt.Errorf("%q is not a number", v)
		}
		n, text = f, strconv.FormatFloat(f, 'g', -1, 64)
	}
	if p.Min != nil && n < *p.Min {
		return "", fmt.Errorf("%s is below the minimum of %g", v, *p.Min)
	}
	if p.Max != nil && n > *p.Max {
		return "", fmt.Errorf("%s is above the maximum of %g", v, *p.Max)
	}
	return text, nil
}

// absolutePath accepts the absolute paths of every system, whichever one the
// declaration is verified on: the collector verifies for its agents.
func absolutePath(v string) bool {
	if strings.HasPrefix(v, "/") || strings.HasPrefix(v, `\\`) {
		return true
	}
	return len(v) > 2 && v[1] == ':' && (v[2] == '\\' || v[2] == '/')
}
