package uptime_test

import (
	"testing"

	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/uptime"
)

func TestConformance(t *testing.T) {
	checktest.Run(t, uptime.New(), checktest.Options{Discoverable: true})
}
