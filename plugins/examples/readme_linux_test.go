// Package examples shows that what the README says of plugins works as written.
package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/plugins/plugintest"
)

const top = "../.."

// section is the README's part about plugins, in Go and in Python.
func section(t *testing.T) (inGo, inPython string) {
	t.Helper()
	data, err := os.ReadFile(top + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n### Write a check of your own\n")
	rest, _, _ = strings.Cut(rest, "\n**What may run**")
	inGo, inPython, ok := strings.Cut(rest, "\n**In Python**")
	if !ok {
		t.Fatal("the README does not tell how to write a check in Go and in Python")
	}
	return inGo, inPython
}

var blocks = regexp.MustCompile("(?s)(?:`([^`\n]+)`:\n\n)?```(sh|yaml|go|python)\n(.*?)```")

// script is what a person does who follows the text: files are written, commands run.
// It begins where nothing is.
func script(t *testing.T, text, example string) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("set -euo pipefail\n")
	for _, m := range blocks.FindAllStringSubmatch(text, -1) {
		name, kind, content := m[1], m[2], m[3]
		if kind == "sh" {
			out.WriteString(content)
			continue
		}
		same(t, filepath.Join(example, name), content)
		fmt.Fprintf(&out, "cat >%s <<'the end of the file'\n%sthe end of the file\n", name, content)
	}
	return out.String()
}

// same holds that the README's text of a file is the one in the tree, which is linted.
func same(t *testing.T, path, content string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != content {
		t.Errorf("the README has another text of %s than the tree", path)
	}
}

// follow runs a script in an empty folder, with an agent of this tree.
func follow(t *testing.T, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: the README installs files as root")
	}
	repository, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	dir, installed := t.TempDir(), plugintest.Folder(t)
	agent, config := filepath.Join(dir, "wacht-agent"), filepath.Join(dir, "agent.yaml")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", agent, top+"/agent/cmd/wacht-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
	if err := os.WriteFile(config, []byte("plugin_dir: "+installed+"\nstate_dir: "+dir+"/state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	script = strings.NewReplacer(
		"sudo apt-get install -y", "dpkg --status >/dev/null", "sudo ", "", "~/src/wacht", repository,
		"/usr/lib/wacht/plugins", installed, "wacht-agent plugin allow", agent+" plugin allow --config "+config,
		"wacht-agent check", agent+" check --config "+config,
	).Replace(script)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = empty
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestReadmeInGo(t *testing.T) {
	text, _ := section(t)
	out := follow(t, script(t, text, "go"))
	for _, want := range []string{"restart the agent to run it", "reboot  ", "  required ", "  packages "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestReadmeInPython(t *testing.T) {
	if _, err := os.Stat("/usr/lib/python3/dist-packages/grpc_tools"); err != nil {
		t.Skip("Debian's gRPC for Python is not installed (apt-get install python3-grpcio python3-protobuf python3-grpc-tools python3-cryptography)")
	}
	_, text := section(t)
	out := follow(t, script(t, text, "python"))
	for _, want := range []string{"restart the agent to run it", "backup /var/backups"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "UNKNOWN") {
		t.Errorf("the check does not run:\n%s", out)
	}
}
