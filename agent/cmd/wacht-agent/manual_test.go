package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func manualText(t *testing.T, kind string) string {
	t.Helper()
	var out strings.Builder
	if code := Main(t.Context(), []string{"manual", kind}, nil, &out, os.Stderr); code != 0 {
		t.Fatalf("manual %s exits with %d", kind, code)
	}
	return out.String()
}

// The page tells every command and flag.
func TestManualPage(t *testing.T) {
	page := manualText(t, "man")
	for _, c := range commands() {
		if !strings.Contains(page, "\n.SS "+c.name) {
			t.Errorf("the page lacks the command %s", c.name)
		}
		for _, f := range c.allFlags() {
			if !strings.Contains(page, roff("--"+f.Name)) {
				t.Errorf("the page lacks the flag --%s of %s", f.Name, c.name)
			}
		}
	}
	if !strings.Contains(roff(`.\-'`), `\&.\e\-'`) {
		t.Errorf("escaped is %q", roff(`.\-'`))
	}
}

func TestBashCompletion(t *testing.T) {
	script := manualText(t, "bash")
	tests := []struct{ typed, want string }{
		{"wacht-agent enr", "enroll"},
		{"wacht-agent enroll --tok", "--token"},
		{"wacht-agent check certif", "certificate"},
		{"wacht-agent status --js", "--json"},
		{"wacht-agent run --js", ""},
	}
	for _, tt := range tests {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", script+`
			COMP_WORDS=(`+tt.typed+`); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _wacht_agent; echo "${COMPREPLY[*]}"`)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil && tt.want != "" || got != tt.want {
			t.Errorf("%q completes to %q (%v), want %q", tt.typed, got, err, tt.want)
		}
	}
}

// A shell reads its file without a complaint. The shells are Debian's.
func TestCompletionParses(t *testing.T) {
	for shell, option := range map[string]string{"bash": "-n", "zsh": "-n", "fish": "--no-execute"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Skipf("no %s: %v", shell, err)
		}
		file := t.TempDir() + "/completion"
		if err := os.WriteFile(file, []byte(manualText(t, shell)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), path, option, file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}

func TestManualKinds(t *testing.T) {
	for _, args := range [][]string{{"manual"}, {"manual", "html"}, {"manual", "man", "more"}} {
		var errs strings.Builder
		if code := Main(t.Context(), args, nil, &errs, &errs); code != 2 || !strings.Contains(errs.String(), "man, bash, zsh or fish") {
			t.Errorf("%v exits with %d: %s", args, code, &errs)
		}
	}
}
