package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wacht-io/wacht/agent/internal/uplinktest"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

// The scripts of programs have a folder that others can't write to.
func TestProgramScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the scripts give files to another user")
	}
	runScripts(t, "testdata/program", func(e *testscript.Env, _ *uplinktest.Collector) {
		e.Vars = append(e.Vars, "PROGRAMS="+plugintest.Folder(t))
	})
}
