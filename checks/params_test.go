package checks_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks"
)

// everyType declares a parameter of each type.
const everyType = `
name: sample
summary: Has a parameter of each type
interval: 60s
timeout: 10s
systems: [linux]
parameters:
  - {name: text, type: string, summary: s, pattern: "[a-z]+|x y"}
  - {name: whole, type: int, summary: s, min: -5, max: 10, default: ["3"]}
  - {name: number, type: float, summary: s, min: 0.5}
  - {name: flag, type: bool, summary: s, default: ["true"]}
  - {name: wait, type: duration, summary: s, min: 1, max: 60, default: ["30000ms"]}
  - {name: way, type: enum, summary: s, values: [up, down]}
  - {name: file, type: path, summary: s}
  - {name: many, type: path, list: true, summary: s}
  - {name: needed, type: string, summary: s, required: true}
`

func sample(t testing.TB) *checks.Spec {
	t.Helper()
	spec, err := checks.ParseSpec([]byte(everyType))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestParams(t *testing.T) {
	got, err := sample(t).Params(checks.Params{
		"text":   {"x y"},
		"whole":  {"+07"},
		"number": {"1e3"},
		"flag":   {"F"},
		"way":    {"down"},
		"file":   {`C:\data`},
		"many":   {"/a", `\\server\share`, "d:/b"},
		"needed": {""},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := checks.Params{
		"text": {"x y"}, "whole": {"7"}, "number": {"1000"}, "flag": {"false"}, "wait": {"30s"}, "way": {"down"},
		"file": {`C:\data`}, "many": {"/a", `\\server\share`, "d:/b"}, "needed": {""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got.Int("whole") != 7 || got.Float("number") != 1000 || got.Bool("flag") || got.Duration("wait") != 30*time.Second {
		t.Errorf("the accessors read %d, %g, %t, %s", got.Int("whole"), got.Float("number"), got.Bool("flag"), got.Duration("wait"))
	}
	if got.String("file") != `C:\data` || len(got.Strings("many")) != 3 || !got.Has("needed") || got.Has("absent") {
		t.Errorf("the accessors misread %v", got)
	}
}

func TestParamsAbsent(t *testing.T) {
	var none checks.Params
	if none.Has("a") || none.String("a") != "" || none.Strings("a") != nil || none.Int("a") != 0 ||
		none.Float("a") != 0 || none.Bool("a") || none.Duration("a") != 0 {
		t.Error("a parameter without a value must read as the zero value")
	}
}

func TestParamsRefused(t *testing.T) {
	long := strings.Repeat("x", checks.MaxParamBytes+1)
	tests := []struct {
		name, value, why string
	}{
		{"text", "UPPER", "does not match"},
		{"text", "abc\n", "does not match"}, // a line end is no end of the text
		{"text", "abc1", "does not match"},
		{"text", long, "1025 bytes; at most 1024"},
		{"whole", "1.5", "not a whole number"},
		{"whole", "-6", "below the minimum of -5"},
		{"whole", "11", "above the maximum of 10"},
		{"whole", "9223372036854775808", "not a whole number"},
		{"number", "NaN", "not a number"},
		{"number", "-Inf", "not a number"},
		{"number", "0.4", "below the minimum of 0.5"},
		{"flag", "yes", "neither true nor false"},
		{"wait", "5", "not a duration such as 1m30s"},
		{"wait", "2m", "above the maximum of 60"},
		{"wait", "10ms", "below the minimum of 1"},
		{"way", "sideways", "not one of up, down"},
		{"file", "relative", "not an absolute path"},
		{"file", "C:relative", "not an absolute path"},
		{"many", "", "not an absolute path"},
		{"other", "1", "sample has no parameter \"other\" (it has: text, whole"},
	}
	for _, tt := range tests {
		_, err := sample(t).Params(checks.Params{"needed": {"v"}, tt.name: {tt.value}})
		if err == nil || !strings.Contains(err.Error(), tt.name) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s = %.40q must be refused with %q, but gave: %v", tt.name, tt.value, tt.why, err)
		}
	}
}

func TestParamsCounts(t *testing.T) {
	many := make([]string, checks.MaxParamValues+1)
	for i := range many {
		many[i] = fmt.Sprintf("/%d", i)
	}
	for name, given := range map[string]checks.Params{
		"parameter needed of sample: a value is required":  {},
		"parameter file of sample: takes one value, not 2": {"needed": {"v"}, "file": {"/a", "/b"}},
		"parameter many of sample: takes at most 256":      {"needed": {"v"}, "many": many},
	} {
		if _, err := sample(t).Params(given); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("must be refused with %q, but gave: %v", name, err)
		}
	}
}

// All that is wrong is told at once.
func TestParamsAllErrors(t *testing.T) {
	_, err := sample(t).Params(checks.Params{"whole": {"x"}, "flag": {"x"}, "unknown": {"x"}})
	if err == nil {
		t.Fatal("must be refused")
	}
	for _, name := range []string{"whole", "flag", "unknown", "needed"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in: %v", name, err)
		}
	}
}

// What Params gives is in canonical form: given again it stays as it is. And it
// never changes what it was given.
func TestParamsCanonical(t *testing.T) {
	spec := sample(t)
	values := map[string]*rapid.Generator[string]{
		"text":   rapid.StringMatching(`[a-z]+`),
		"whole":  rapid.Map(rapid.IntRange(-7, 12), func(n int) string { return fmt.Sprintf("%+03d", n) }),
		"number": rapid.Map(rapid.Float64(), func(f float64) string { return fmt.Sprintf("%e", f) }),
		"flag":   rapid.SampledFrom([]string{"1", "t", "TRUE", "0", "False", "no"}),
		"wait":   rapid.Map(rapid.Int64Range(0, 1e11), func(n int64) string { return fmt.Sprintf("%dns", n) }),
		"way":    rapid.SampledFrom([]string{"up", "down", "Up"}),
		"file":   rapid.OneOf(rapid.String(), rapid.Just("/x")),
		"many":   rapid.OneOf(rapid.String(), rapid.Just(`\\x`)),
		"needed": rapid.String(),
	}
	names := slices.Sorted(maps.Keys(values))
	rapid.Check(t, func(t *rapid.T) {
		given := checks.Params{}
		for _, name := range names {
			if list := rapid.SliceOfN(values[name], 0, 2).Draw(t, name); len(list) > 0 {
				given[name] = list
			}
		}
		before := maps.Clone(given)
		once, err := spec.Params(given)
		if !reflect.DeepEqual(given, before) {
			t.Fatalf("the given values became %v", given)
		}
		if err != nil {
			return
		}
		twice, err := spec.Params(once)
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v, given again, became %v, %v", once, twice, err)
		}
	})
}
