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
	// The agents of a fleet share a heap that no real one has. While it is collected none
	// of them reads or sends, so it is not, before it has as much as few machines have.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(4 << 30)
	os.Exit(m.Run())
}
