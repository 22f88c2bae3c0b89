package web

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/engine"
)

func languagesForTest(t *testing.T) []*language {
	t.Helper()
	a, err := readAssets()
	if err != nil {
		t.Fatal(err)
	}
	all, err := readLanguages(time.UTC, a)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var verbs = regexp.MustCompile(`%[^%]`)

func TestLanguagesSayTheSame(t *testing.T) {
	all := languagesForTest(t)
	for _, a := range all {
		for _, b := range all {
			for key, text := range a.messages {
				other, there := b.messages[key]
				if !there {
					t.Errorf("%s lacks %q", b.Code, key)
				}
				if x, y := verbs.FindAllString(text, -1), verbs.FindAllString(other, -1); !slices.Equal(x, y) {
					t.Errorf("%q has %v in %s and %v in %s", key, x, a.Code, y, b.Code)
				}
			}
		}
	}
}

// What templates and code ask for is in the catalogue, and nothing else is.
func TestEveryMessageIsUsed(t *testing.T) {
	known := languagesForTest(t)[0].messages
	used := map[string]bool{}
	use := func(key string) {
		if _, there := known[key]; !there {
			t.Errorf("there is no message %q", key)
		}
		used[key] = true
	}
	literal := regexp.MustCompile(`(?:\bt|\.text\() ?"([a-z0-9.-]+[a-z0-9])"`)
	counted := regexp.MustCompile(`(?:\bn|\.count\() ?"([a-z0-9.-]+[a-z0-9])"`)
	for _, source := range sources(t) {
		for _, m := range literal.FindAllStringSubmatch(source, -1) {
			use(m[1])
		}
		for _, m := range counted.FindAllStringSubmatch(source, -1) {
			if !strings.HasSuffix(m[1], ".") {
				use(m[1] + ".one")
				use(m[1] + ".many")
			}
		}
	}
	// Families whose last part comes from the data.
	family := regexp.MustCompile(`^(level|priority|grade|state|kind|category|role|ending|event|action|goal|unit|error|queue\.status)\.`)
	for key := range known {
		if !used[key] && !family.MatchString(key) {
			t.Errorf("nothing uses message %q", key)
		}
	}
	for _, k := range desk.Kinds() {
		use("kind." + k)
	}
	for _, c := range desk.Categories() {
		use("category." + c)
	}
}

func sources(t *testing.T) (out []string) {
	t.Helper()
	for _, pattern := range []string{"templates/*.html", "*.go"} {
		out = append(out, readAll(t, pattern)...)
	}
	return out
}

func TestLanguageIsChosen(t *testing.T) {
	s := &site{languages: languagesForTest(t)}
	for _, c := range []struct{ accept, cookie, want string }{
		{"", "", "en"}, {"nl-NL,nl;q=0.9,en;q=0.8", "", "nl"}, {"nl-BE", "", "nl"}, {"de,fr;q=0.5", "", "en"}, {"en,nl;q=0.5", "", "en"},
		{"en", "nl", "nl"}, {"nl", "xx", "nl"}, {"\x00", "", "en"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.cookie != "" {
			r.AddCookie(&http.Cookie{Name: languageCookie, Value: c.cookie})
		}
		if got := s.languageOf(r).Code; got != c.want {
			t.Errorf("%q with cookie %q gets %s, want %s", c.accept, c.cookie, got, c.want)
		}
	}
}

func TestValuesHaveUnits(t *testing.T) {
	all := languagesForTest(t)
	for _, c := range []struct {
		unit   string
		value  float64
		en, nl string
	}{
		{"bytes", 3.1 * (1 << 30), "3.1 GiB", "3,1 GiB"},
		{"bytes", 0, "0 B", "0 B"},
		{"bytes", 1023, "1023 B", "1023 B"},
		{"bytes_per_second", 2048, "2 KiB/s", "2 KiB/s"},
		{"ratio", 0.124, "12.4 %", "12,4 %"},
		{"ratio", 0.00031, "0.031 %", "0,031 %"},
		{"ratio", 1, "100 %", "100 %"},
		{"seconds", 0.00041, "410 µs", "410 µs"},
		{"seconds", 0.0425, "42.5 ms", "42,5 ms"},
		{"seconds", 12, "12 s", "12 s"},
		{"seconds", 7260, "2 h 1 min", "2 u 1 min"},
		{"seconds", 43 * 86400, "43 d", "43 d"},
		{"seconds", 1.75e9, "2025-06-15 15:06:40 UTC", "2025-06-15 15:06:40 UTC"},
		{"celsius", 41, "41 °C", "41 °C"},
		{"boolean", 1, "yes", "ja"},
		{"packets", 12345, "12345 packets", "12345 packets"},
	} {
		m := engine.MetricView{Unit: c.unit, Value: c.value}
		if got := all[0].value(m); got != c.en {
			t.Errorf("%g %s is %q, want %q", c.value, c.unit, got, c.en)
		}
		if got := all[1].value(m); got != c.nl {
			t.Errorf("%g %s is %q in Dutch, want %q", c.value, c.unit, got, c.nl)
		}
	}
}

func TestTimesAreTold(t *testing.T) {
	en := languagesForTest(t)[0]
	now := time.Unix(1_800_000_000, 0)
	for d, want := range map[time.Duration]string{
		0: "just now", 5 * time.Second: "5 s ago", 3*time.Minute + 20*time.Second: "3 min ago", 90 * time.Minute: "1 h 30 min ago",
		26 * time.Hour: "26 h ago", 50 * time.Hour: "2 d 2 h ago", 30 * 24 * time.Hour: "30 d ago", -time.Hour: "in 1 h",
	} {
		if got := en.ago(now, now.Add(-d)); got != want {
			t.Errorf("%s ago is %q, want %q", d, got, want)
		}
	}
	if got := en.left(now, now.Add(-12*time.Minute)); got != "12 min late" {
		t.Errorf("late is %q", got)
	}
}

func TestSparkLeavesGaps(t *testing.T) {
	from := time.Unix(1_800_000_000, 0)
	var points []Point
	for i := range 60 {
		if i < 20 || i > 40 {
			points = append(points, Point{Time: from.Add(time.Duration(i) * time.Minute), Value: float64(i)})
		}
	}
	s := drawSpark(points, from, from.Add(time.Hour))
	if s == nil || len(s.Lines) != 2 || !strings.HasPrefix(s.Lines[0], "0.0,24.0 ") {
		t.Errorf("drew %+v", s)
	}
	if s := drawSpark(points[:1], from, from.Add(time.Hour)); s != nil {
		t.Errorf("one point drew %+v", s)
	}
}

func readAll(t *testing.T, pattern string) (out []string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}
