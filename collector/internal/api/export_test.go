package api

import "slices"

// RoutesForTest lists what is served as "METHOD /path", in order.
func RoutesForTest() []string {
	var out []string
	for _, rt := range (&api{}).routes() {
		out = append(out, rt.method+" "+rt.path)
	}
	slices.Sort(out)
	return out
}
