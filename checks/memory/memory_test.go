package memory_test

import (
	"testing"

	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/memory"
)

func TestConformance(t *testing.T) {
	checktest.Run(t, memory.New(), checktest.Options{Discoverable: true})
}
