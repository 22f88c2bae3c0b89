package diskio_test

import (
	"testing"

	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/diskio"
)

func TestConformance(t *testing.T) {
	checktest.Run(t, diskio.New(), checktest.Options{Discoverable: true})
}
