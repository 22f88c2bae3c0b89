package cpu_test

import (
	"testing"

	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/cpu"
)

func TestConformance(t *testing.T) {
	checktest.Run(t, cpu.New(), checktest.Options{Discoverable: true})
}
