package collector

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/policy"
)

// TestReadmePolicy verifies the layers that the README shows as a collector would.
func TestReadmePolicy(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(block[1], "match:") {
			continue
		}
		shown++
		if _, err := policy.Load(fstest.MapFS{"readme.yaml": {Data: []byte(block[1])}}, specs, time.Now()); err != nil {
			t.Error(err)
		}
	}
	if shown == 0 {
		t.Error("the README shows no policy")
	}
}
