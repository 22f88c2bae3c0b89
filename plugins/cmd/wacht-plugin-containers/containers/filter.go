package containers

import (
	"path"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// filter says which containers are looked at.
type filter struct{ include, exclude []string }

func newFilter(p checks.Params) *filter {
	return &filter{p.Strings("include"), p.Strings("exclude")}
}

// takes says whether a container is to be looked at.
func (f *filter) takes(name string) bool {
	return (len(f.include) == 0 || matches(f.include, name)) && !matches(f.exclude, name)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name) // the declaration allows no pattern that is wrong
		return ok
	})
}

// named says whether include has the container's very name.
func (f *filter) named(name string) bool { return slices.Contains(f.include, name) }

// missing are the names that include has and no container.
func (f *filter) missing(all []state, failed []failure) []string {
	there := map[string]bool{}
	for i := range all {
		there[all[i].name] = true
	}
	for _, one := range failed {
		there[one.name] = true
	}
	gone := map[string]bool{}
	for _, name := range f.include {
		if !strings.ContainsAny(name, "*?") && !there[name] && f.takes(name) {
			gone[name] = true
		}
	}
	return sorted(gone)
}
