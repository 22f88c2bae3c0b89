package bench

import (
	"os"
	"testing"

	"github.com/wacht-io/wacht/collector/collectortest"
)

func TestMain(m *testing.M) {
	if collectortest.Child() {
		return
	}
	os.Exit(m.Run())
}
