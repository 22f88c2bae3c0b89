package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wacht-io/wacht/agent/internal/uplinktest"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

// The scripts of plugins have the example's program, which is built as its author
// would, and a folder of plugins that others can't write to.
func TestPluginScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: an agent that is not runs plugins as its own user")
	}
	program := filepath.Join(t.TempDir(), "wacht-plugin-reboot")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "../../../plugins/examples/go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v\n%s", err, out)
	}
	runScripts(t, "testdata/plugin", func(e *testscript.Env, c *uplinktest.Collector) {
		c.Wanted = []string{"reboot"}
		e.Vars = append(e.Vars, "PROGRAM="+program, "PLUGINS="+plugintest.Folder(t))
	})
}
