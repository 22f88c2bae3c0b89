package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// match says for what a layer holds: for that which fits all of its keys. Each takes
// one value or several, in which * stands for any text.
type match struct {
	customer, site, host, item, role []string
	labels                           map[string][]string
}

// The layers, lowest first: a higher one has the last word.
const (
	levelDefault = "default"
	levelMSP     = "msp"
)

// levels name a layer by the most particular key of its match.
var levels = []string{levelMSP, "customer", "site", "label", "host", "item"}

// rank is the level as an index in levels.
func (m *match) rank() int {
	switch {
	case len(m.item) > 0:
		return 5
	case len(m.host) > 0:
		return 4
	case len(m.labels) > 0 || len(m.role) > 0:
		return 3
	case len(m.site) > 0:
		return 2
	case len(m.customer) > 0:
		return 1
	}
	return 0
}

func (r *reader) match(n *yaml.Node) match {
	var m match
	r.keys(n, "match", map[string]func(*yaml.Node){
		"customer": r.patterns("customer", &m.customer),
		"site":     r.patterns("site", &m.site),
		"host":     r.patterns("host", &m.host),
		"item":     r.patterns("item", &m.item),
		"role":     func(n *yaml.Node) { r.roles(n, &m.role) },
		"labels": func(n *yaml.Node) {
			m.labels = make(map[string][]string)
			r.group(n, "labels", func(key, value *yaml.Node) {
				var values []string
				r.patterns("label "+key.Value, &values)(value)
				m.labels[key.Value] = values
			})
		},
	})
	return m
}

// patterns reads values of which there must be one: an empty list would match nothing.
func (r *reader) patterns(what string, to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.words(what, to)(n)
		if len(*to) == 0 || slices.Contains(*to, "") {
			r.bad(n, "%s in match is empty; leave it out to match every %s", what, what)
		}
	}
}

func (r *reader) roles(n *yaml.Node, to *[]string) {
	r.words("role", to)(n)
	for _, role := range *to {
		if role != string(inventory.Server) && role != string(inventory.Workstation) {
			r.bad(n, "role %q: use server or workstation", role)
		}
	}
}

// hostFits says whether the layer holds for the subject's host.
func (m *match) hostFits(s *rules.Subject) bool {
	return fits(m.customer, s.Customer) && fits(m.site, s.Site) && fits(m.role, s.Role) &&
		(fits(m.host, s.Host) || s.HostID != "" && fits(m.host, s.HostID)) && m.labelsFit(s.Labels)
}

// fits says whether the layer holds for a subject.
func (m *match) fits(s *rules.Subject) bool { return m.hostFits(s) && fits(m.item, s.Item) }

func (m *match) labelsFit(labels map[string]string) bool {
	for name, patterns := range m.labels {
		value, ok := labels[name]
		if !ok || !fits(patterns, value) {
			return false
		}
	}
	return true
}

func fits(patterns []string, value string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return like(p, value) })
}

// like compares with a pattern in which * stands for any text, also for none.
func like(pattern, value string) bool {
	first, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == value
	}
	value, ok := strings.CutPrefix(value, first)
	for ok && found {
		var part string
		if part, rest, found = strings.Cut(rest, "*"); !found {
			return strings.HasSuffix(value, part)
		}
		_, value, ok = strings.Cut(value, part)
	}
	return ok
}

// String shows the match as in the file.
func (m *match) String() string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", name, strings.Join(values, " or ")))
		}
	}
	add("customer", m.customer)
	add("site", m.site)
	add("role", m.role)
	for _, name := range slices.Sorted(maps.Keys(m.labels)) {
		add("label "+name, m.labels[name])
	}
	add("host", m.host)
	add("item", m.item)
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}
