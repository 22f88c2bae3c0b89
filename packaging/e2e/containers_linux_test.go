package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wacht-io/wacht/plugins/cmd/wacht-plugin-containers/podmantest"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

// The plugin for containers as it is shipped, allowed as the README says, in the bounds
// that a plugin has: a container that should run and does not is an incident, by the
// rules that the plugin brought along, and so is an engine that is gone.
func TestContainers(t *testing.T) {
	t.Parallel()
	engine := podmantest.Start(t)
	engine.Run("web", "exec sleep 1000", "--restart", "always")
	s := serve(t, options{policy: "- match: {}\n  checks:\n    containers: {interval: 2s, timeout: 2s}\n"})

	folder := plugintest.Folder(t)
	program, err := os.ReadFile(binary("wacht-plugin-containers"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "wacht-plugin-containers")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	m := join(t, s, "", "plugin_dir: "+folder+"\n")
	must(t, "wacht-agent", "plugin", "allow", file, "--user", "root", "--config", m.config, "--state-dir", m.state)
	allowed, err := os.ReadFile(m.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, m.config, string(allowed)+only()+"checks: {containers: {socket: "+engine.Socket+"}}\n")
	m.run()

	await(t, "the container", func() bool { return s.level(m.host, "web") == "ok" })
	engine.Do("stop", "--time", "0", "web")
	in := awaitState(t, s, "web", "open")
	if in.Title != "Container web does not run" {
		t.Errorf("the incident is %+v", in)
	}
	engine.Do("start", "web")
	awaitState(t, s, "web", "resolved")
	engine.Stop()
	awaitState(t, s, "(engine)", "open")
	engine.Serve()
	awaitState(t, s, "(engine)", "resolved")
	if level := s.level(m.host, "web"); level != "ok" {
		t.Errorf("after the engine came back the container is %s", level)
	}
}
