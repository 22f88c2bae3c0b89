package e2e

import (
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Both programs, as people type them.
func TestStory(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", os.Getenv(binEnv)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("WEB", freeAddress(t))
			e.Setenv("AGENTS", freeAddress(t))
			e.Setenv("DISK", tmpfs(t, 64))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready,
			"until": until,
			"keep":  keep,
			"break": func(_ *testscript.TestScript, _ bool, args []string) { fill(t, args[0], 1024) },
			"mend":  func(_ *testscript.TestScript, _ bool, args []string) { empty(t, args[0]) },
		},
	})
}

// ready waits until the collector serves: commands given before would open its
// folder themselves.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + ts.Getenv("WEB") + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Since(began) > patience {
			ts.Fatalf("the collector does not serve: %v", err)
		}
	}
}

// until PATTERN PROGRAM ARGS... runs a program again and again until its output
// matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && pattern.MatchString(out) {
			return
		}
		if time.Since(began) > patience {
			ts.Fatalf("%v in vain: %s\n%s", patience, out, ts.ReadFile("stderr"))
		}
	}
}

// keep VARIABLE PATTERN puts the first group of what matches in the last output into
// a variable; without a pattern all of the output.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	pattern := `(?s)^\s*(.*?)\s*$`
	if len(args) > 1 {
		pattern = "(?m)" + args[1]
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("nothing matches %s in:\n%s", pattern, ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], found[1])
}
