package disk_test

import (
	"testing"

	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/disk"
)

func TestConformance(t *testing.T) {
	checktest.Run(t, disk.New(), checktest.Options{Discoverable: true})
}
