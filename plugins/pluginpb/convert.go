// Package pluginpb is the contract between an agent and a check that is a program of
// its own: plugin.proto, which says all that a program in another language needs to
// know, and what both ends of it in Go share.
package pluginpb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wacht-io/wacht/checks"
)

// What go-plugin's handshake is made with.
const (
	// Version is that of the contract. A change that old programs or agents can't
	// follow raises it.
	Version = 1
	// CookieKey and CookieValue are in the environment of a program that an agent starts.
	CookieKey   = "WACHT_PLUGIN"
	CookieValue = "check"
)

// The limits that plugin.proto names.
const (
	MaxMessageBytes     = 4 << 20
	MaxDeclarationBytes = checks.MaxDeclarationBytes
	MaxSampleBytes      = 64 << 10
	MaxInstances        = 1000
)

// FromParams packs parameters, by name.
func FromParams(given checks.Params) []*Param {
	out := make([]*Param, 0, len(given))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		out = append(out, &Param{Name: name, Values: given[name]})
	}
	return out
}

// ToParams unpacks parameters. Whether they keep to a declaration is for
// checks.Spec.Params to say.
func ToParams(given []*Param) (checks.Params, error) {
	out := make(checks.Params, len(given))
	for _, p := range given {
		if _, twice := out[p.GetName()]; twice {
			return nil, fmt.Errorf("parameter %.64q is given twice", p.GetName())
		}
		if n := len(p.GetValues()); n > checks.MaxParamValues {
			return nil, fmt.Errorf("parameter %.64q has %d values; at most %d are allowed", p.GetName(), n, checks.MaxParamValues)
		}
		out[p.GetName()] = p.GetValues()
	}
	return out, nil
}

// FromInstances packs what was discovered.
func FromInstances(found []checks.Instance) []*Instance {
	out := make([]*Instance, len(found))
	for i, f := range found {
		out[i] = &Instance{Name: f.Name, Params: FromParams(f.Params), Items: f.Items}
	}
	return out
}

// ToInstances unpacks what was discovered, and holds it to the limit.
func ToInstances(found []*Instance) ([]checks.Instance, error) {
	if len(found) > MaxInstances {
		return nil, fmt.Errorf("%d instances were discovered; at most %d are allowed", len(found), MaxInstances)
	}
	out := make([]checks.Instance, len(found))
	for i, f := range found {
		params, err := ToParams(f.GetParams())
		if err != nil {
			return nil, fmt.Errorf("instance %.64q: %w", f.GetName(), err)
		}
		out[i] = checks.Instance{Name: f.GetName(), Params: params, Items: f.GetItems()}
	}
	return out, nil
}
