package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/command"
)

// digest is in plugins_test.go.
func withPrograms(text string) (*Config, error) {
	return Parse("agent.yaml", []byte(text), &Known{Specs: []*checks.Spec{command.New().Spec()}})
}

func TestPrograms(t *testing.T) {
	conf, err := withPrograms(`
programs:
  load: {path: /usr/lib/nagios/plugins/check_load, sha256: ` + digest + `, args: ["-w", "5,4,3", ""]}
  users:
    path: /usr/lib/nagios/plugins/check_users
    sha256: ` + strings.ToUpper(digest) + `
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]checks.Params{
		"command/load":  {"path": {"/usr/lib/nagios/plugins/check_load"}, "sha256": {digest}, "args": {"-w", "5,4,3", ""}},
		"command/users": {"path": {"/usr/lib/nagios/plugins/check_users"}, "sha256": {digest}},
	}
	if !reflect.DeepEqual(conf.Local, want) {
		t.Errorf("the programs are %v", conf.Local)
	}
}

func TestProgramErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"programs:\n  load: {sha256: " + digest + "}":                               "agent.yaml:2: program load needs its path, an absolute one",
		"programs:\n  load:\n    path: check_load\n    sha256: " + digest:           "agent.yaml:3: program load needs its path, an absolute one",
		"programs:\n  load: {path: /bin/true}":                                      "agent.yaml:2: program load needs its sha256, 64 hexadecimal digits: wacht-agent program add writes it",
		"programs:\n  load: {path: /bin/true, sha256: 0a}":                          "agent.yaml:2: program load needs its sha256",
		"programs:\n  load: {path: /bin/true, sha256: " + digest + ", shell: true}": "agent.yaml:2: field shell not found",
		"programs:\n  \"a\\tb\": {path: /bin/true, sha256: " + digest + "}":         "can't be shown",
		"programs: [load]": "agent.yaml:1: ",
		"programs:\n  load: {path: /bin/true, sha256: " + digest + ", args: [" + strings.Repeat("x", 1025) + "]}": "agent.yaml:2: an argument of program load has 1025 bytes; at most 1024 are allowed",
		"programs:\n  load: {path: /bin/true, sha256: " + digest + ", args: [" + strings.Repeat("x,", 257) + "]}": "has 257 arguments; at most 256 are allowed",
		"checks: {command/load: {args: [x]}}\nprograms:\n  load: {path: /bin/true, sha256: " + digest + "}":       "agent.yaml:1: command/load: what runs here is listed under programs",
		"checks: {command: {path: /usr/bin/id, sha256: " + digest + "}}":                                          "agent.yaml:1: command: what runs here is listed under programs",
		"programs:\n" + many(MaxPrograms+1): fmt.Sprintf("agent.yaml:%d: %d programs; at most %d are allowed", MaxPrograms+2, MaxPrograms+1, MaxPrograms),
	} {
		if _, err := withPrograms(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200q: no %q in: %v", text, want, err)
		}
	}
	if _, err := withPrograms("programs:\n" + many(MaxPrograms)); err != nil {
		t.Errorf("as many as are allowed: %v", err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  p%d: {path: /bin/true, sha256: %s}\n", i, digest)
	}
	return b.String()
}

// The policy chooses when a program runs, and whether; never which, nor how.
func TestPolicyOfPrograms(t *testing.T) {
	conf, err := withPrograms("programs:\n" + many(3))
	if err != nil {
		t.Fatal(err)
	}
	tasks, answers, problems := Effective(Input{Checks: []checks.Check{command.New()}, Config: conf, OS: "linux", Policy: &agentpb.Policy{Tasks: []*agentpb.Task{
		{Check: "command", Instance: "p0", IntervalMs: 300_000, TimeoutMs: 30_000},
		{Check: "command", Instance: "p1", Disabled: true},
		{Check: "command", Instance: "p2", Params: []*agentpb.Param{{Name: "args", Values: []string{"-x"}}}},
		{Check: "command", Instance: "shell", Params: []*agentpb.Param{{Name: "path", Values: []string{"/bin/sh"}}, {Name: "sha256", Values: []string{digest}}}},
		{Check: "command", Instance: "none"},
	}}})
	if names(tasks) != "command/p0 command/p2" || len(problems) != 1 {
		t.Fatalf("tasks %s, problems %v", names(tasks), problems)
	}
	if tasks[0].Interval != 5*time.Minute || tasks[0].Timeout != 30*time.Second || tasks[1].Params.Has("args") || tasks[1].Timeout != 10*time.Second {
		t.Errorf("the tasks are %+v", tasks)
	}
	for i, reason := range []string{"", "", "machine's own file only", "machine's own file only", "a value is required"} {
		if got := answers[i].GetReason(); !strings.Contains(got, reason) || (got == "") != (reason == "") {
			t.Errorf("%s: %q, not %q", answers[i].GetInstance(), got, reason)
		}
	}
}

// Entries come into a file whose other lines stay as they are, however it is written.
func TestAddProgram(t *testing.T) {
	entry := &Program{Name: "load", Path: "/bin/a b", SHA256: [32]byte{0xab}, Args: []string{"-w", `it's "x"`, "${secret:db}", "a: b #c", "line\nbreak"}}
	const line = `load: {path: /bin/a b, sha256: ab00000000000000000000000000000000000000000000000000000000000000, args: ["-w", "it's \"x\"", "${secret:db}", "a: b #c", "line\nbreak"]}`
	for _, tt := range []struct{ before, after string }{
		{"", "programs:\n  " + line + "\n"},
		{"# mine\n", "# mine\nprograms:\n  " + line + "\n"},
		{"programs:\n# none yet\nrole: server\n", "programs:\n  " + line + "\n# none yet\nrole: server\n"},
		{
			"programs: # ours\n    # the first\n    a: {path: /a, sha256: " + digest + "} # one\nrole: server # yes\n",
			"programs: # ours\n    # the first\n    " + line + "\n    a: {path: /a, sha256: " + digest + "} # one\nrole: server # yes\n",
		},
		{
			"programs:\n  load:\n    path: /old\n    sha256: " + digest + "\n    args:\n      - -w\n  # the next\n  b: {path: /b, sha256: " + digest + "}\n",
			"programs:\n  " + line + "\n  # the next\n  b: {path: /b, sha256: " + digest + "}\n",
		},
	} {
		got, text, err := AddProgram("agent.yaml", []byte(tt.before), entry)
		if err != nil || string(got) != tt.after || text != line {
			t.Errorf("%q\nbecame\n%s%v", tt.before, got, err)
			continue
		}
		conf, err := withPrograms(string(got))
		if err != nil || !reflect.DeepEqual(conf.Local["command/load"]["args"], entry.Args) {
			t.Errorf("it is read as %v, %v", conf, err)
		}
	}
	for text, want := range map[string]string{
		"programs: {a: {path: /a, sha256: " + digest + "}}": "agent.yaml:1: write programs one to a line, each under the other",
		"role: [":      "agent.yaml:",
		"role: boss\n": `the file would be wrong with the entry in it: agent.yaml:1: "boss" is not a role`,
	} {
		if _, _, err := AddProgram("agent.yaml", []byte(text), entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in: %v", text, want, err)
		}
	}
}
