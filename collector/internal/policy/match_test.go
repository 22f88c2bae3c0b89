package policy

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLikeIsARegularExpressionOfStars(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/*]{0,6}`).Draw(t, "pattern")
		value := rapid.StringMatching(`[ab/*]{0,8}`).Draw(t, "value")
		re := regexp.MustCompile(`\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`)
		if got, want := like(pattern, value), re.MatchString(value); got != want {
			t.Fatalf("%q like %q: %v, want %v", value, pattern, got, want)
		}
	})
}

func TestNear(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"disk", "dsik", true}, {"disk", "dsk", true}, {"disk", "disks", true}, {"disk", "risk", true},
		{"disk", "disk", false}, {"disk", "diskio", false}, {"cpu", "gpu", true}, {"tcp", "ntp", false}, {"a", "b", false},
	} {
		if got := near(c.a, c.b); got != c.want {
			t.Errorf("near(%s, %s) = %v", c.a, c.b, got)
		}
	}
}
