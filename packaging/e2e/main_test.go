package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wacht-io/wacht/collector/collectortest"
)

// binEnv names the folder of the programs that are tested.
const binEnv = "WACHT_E2E_BIN"

func TestMain(m *testing.M) {
	if collectortest.Child() {
		return
	}
	os.Exit(built(m.Run))
}

// built runs the tests with the programs built as they are shipped.
func built(run func() int) int {
	dir, err := os.MkdirTemp("", "wacht-e2e-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

func build(dir string) error {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-tags=grpcnotrace", "-o", dir+string(filepath.Separator),
		"github.com/wacht-io/wacht/agent/cmd/wacht-agent", "github.com/wacht-io/wacht/collector/cmd/wacht-collector",
		"github.com/wacht-io/wacht/plugins/cmd/wacht-plugin-containers")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return os.Setenv(binEnv, dir)
}
