package rules

import "strconv"

// Setting is one value that holds for a subject, and where it comes from.
type Setting struct {
	// Path is section, check, rule and field: rules.disk.space.critical.
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// Settings lists every field that is given of the rules and forecasts of a subject's
// check, also of those that are switched off.
func (b *Book) Settings(s Subject) []Setting {
	c := b.checks[s.Check]
	if c == nil {
		return nil
	}
	var out []Setting
	layers := c.matching(&s)
	for _, name := range c.ruleNames() {
		m := c.merge(name, layers, func(p *patches) map[string]Patch { return p.rules })
		if m.usable() {
			out = append(out, settings("rules."+s.Check+"."+name+".", &m, ruleFields(), &m.rule)...)
		}
	}
	for _, name := range c.forecastNames() {
		m := c.merge(name, layers, func(p *patches) map[string]Patch { return p.forecasts })
		if m.usable() {
			out = append(out, settings("forecasts."+s.Check+"."+name+".", &m, forecastFields(), &m.forecast)...)
		}
	}
	return out
}

func settings[S any](path string, m *merged, fields []field[S], spec *S) []Setting {
	var out []Setting
	for _, f := range fields {
		if o, ok := m.origin[f.name]; ok {
			out = append(out, Setting{Path: path + f.name, Value: f.text(spec), Origin: o})
		}
	}
	if o, ok := m.origin["disabled"]; ok {
		out = append(out, Setting{Path: path + "disabled", Value: strconv.FormatBool(m.disabled), Origin: o})
	}
	return out
}
