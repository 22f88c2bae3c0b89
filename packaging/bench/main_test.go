//go:build linux

package bench

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/wacht-io/wacht/collector/collectortest"
)

func TestMain(m *testing.M) {
	if collectortest.Child() {
		return
	}
	// The agents of a fleet share a heap that no real one has; collecting it less often
	// leaves the processors to what is measured.
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
