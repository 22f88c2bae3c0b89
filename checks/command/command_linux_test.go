package command_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/checks/command"
	"github.com/wacht-io/wacht/checks/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes a program in a folder that only root can write to.
func write(t *testing.T, text string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: the usual temporary folder is open to others")
	}
	dir, err := os.MkdirTemp("/root", "wacht-command-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "check_test")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// params are those of a program with the digest that it has.
func params(t *testing.T, path string, args ...string) checks.Params {
	t.Helper()
	digest, err := sandbox.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	return checks.Params{"path": {path}, "sha256": {fmt.Sprintf("%x", digest)}, "args": args}
}

type secrets map[string]string

func (s secrets) Secret(name string) (checks.Secret, error) {
	text, ok := s[name]
	if !ok {
		return checks.Secret{}, fmt.Errorf("secret %s: there is no file", name)
	}
	return checks.NewSecret(text), nil
}

func run(ctx context.Context, p checks.Params) (checks.Run, error) {
	return command.New().Run(ctx, &checks.Env{
		Params: p, Sandbox: sandbox.New(sandbox.Options{}), Secrets: secrets{"db": "p@ss word", "long": "p@ss word and more", "none": ""},
	})
}

func TestConformance(t *testing.T) {
	path := write(t, "#!/bin/sh\necho 'TEST OK | a=1;2;3;0;4'\n")
	wrong := params(t, path)
	wrong["sha256"] = []string{strings.Repeat("0", 64)}
	checktest.Run(t, command.New(), checktest.Options{
		Params: params(t, path, "x"),
		Refused: []checktest.Refusal{
			{Params: wrong, Name: "SHA-256"},
			{Params: params(t, path, "${secret:absent}"), Name: "args"},
		},
		Sandbox: sandbox.New(sandbox.Options{}),
	})
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name, script, summary, evidence string
		status                          checks.Status
	}{
		{name: "ok", script: "echo fine", status: checks.OK, summary: "fine"},
		{name: "warning", script: "echo careful; exit 1", status: checks.Warning, summary: "careful"},
		{name: "critical", script: "echo broken; exit 2", status: checks.Critical, summary: "broken"},
		{name: "unknown", script: "echo no idea; exit 3", status: checks.Unknown, summary: "no idea"},
		{name: "other code", script: "echo odd; exit 4", status: checks.Unknown, summary: "the program ended with exit code 4, which is none of 0 to 3: odd"},
		{name: "not found", script: "exec /nowhere", status: checks.Unknown, summary: "exit code 127"},
		{name: "nothing", script: "", status: checks.OK, summary: "the program wrote nothing"},
		{name: "standard error alone", script: "echo usage >&2; exit 3", status: checks.Unknown, summary: "usage", evidence: "standard error: usage"},
		{name: "more lines", script: `printf 'one\ntwo\nthree\n'`, status: checks.OK, summary: "one", evidence: "two\nthree"},
		{name: "complaints are kept of failures", script: `echo bad; echo why >&2; exit 2`, status: checks.Critical, summary: "bad", evidence: "standard error: why"},
		{name: "bytes that are no text", script: `printf 'a\377b\033[31mc\r\n'`, status: checks.OK, summary: "a?b?[31mc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t.Context(), params(t, write(t, "#!/bin/sh\n"+tt.script+"\n")))
			if err != nil {
				t.Fatal(err)
			}
			r := got.Results[0]
			if r.Status != tt.status || !strings.Contains(r.Summary, tt.summary) || r.Evidence != tt.evidence && tt.evidence != "" {
				t.Errorf("%s %q %q", r.Status, r.Summary, r.Evidence)
			}
			if err := command.New().Spec().Validate(&got); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a program writes is held to what a result may have; nothing is cut silently.
func TestLimits(t *testing.T) {
	got, err := run(t.Context(), params(t, write(t, `#!/bin/sh
head -c 3000 /dev/zero | tr '\0' s
printf ' | same=1 same=2 '
for i in $(seq 300); do printf "f%d=%d;1:2;3:4;5;6 " $i $i; done
echo
head -c 9000 /dev/zero | tr '\0' l
`)))
	if err != nil {
		t.Fatal(err)
	}
	if err := command.New().Spec().Validate(&got); err != nil {
		t.Fatal(err)
	}
	r := got.Results[0]
	if len(r.Metrics) != checks.MaxMetrics || !strings.HasSuffix(r.Summary, "[…]") || !strings.HasSuffix(r.Evidence, "[…]") {
		t.Errorf("%d metrics, summary of %d bytes, evidence of %d", len(r.Metrics), len(r.Summary), len(r.Evidence))
	}
	// 302 figures, of which 127 have room.
	if !strings.HasPrefix(r.Evidence, "(175 figures are left out") {
		t.Errorf("the evidence begins with %.80q", r.Evidence)
	}
}

func TestSecrets(t *testing.T) {
	path := write(t, `#!/bin/sh
[ "$1" = "--user=x;password=p@ss word" ] || { echo "got $1"; exit 3; }
echo "signed in with $1, p%40ss+word, p%40ss%20word, cEBzcyB3b3Jk"
echo "then p@ss word and more"
echo "complaint of $1" >&2
exit 2
`)
	got, err := run(t.Context(), params(t, path, "--user=x;password=${secret:db}", "${secret:long}"))
	if err != nil {
		t.Fatal(err)
	}
	r := got.Results[0]
	const want = "signed in with --user=x;password=***, ***, ***, ***"
	if r.Status != checks.Critical || r.Summary != want {
		t.Errorf("%s %q, not %q", r.Status, r.Summary, want)
	}
	if want := "then ***\nstandard error: complaint of --user=x;password=***"; r.Evidence != want {
		t.Errorf("the evidence is %q, not %q", r.Evidence, want)
	}
	for arg, why := range map[string]string{"${secret:absent}": "absent", "${secret:none}": "secret none is empty"} {
		if _, err := run(t.Context(), params(t, path, arg)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// What signs in by HTTP shows the secret with what stands beside it, in base64.
func TestSecretsInHeaders(t *testing.T) {
	got, err := run(t.Context(), params(t, write(t, `#!/bin/sh
echo "Authorization: Basic $(printf %s "$1" | base64)"
`), "jan:${secret:db}"))
	if err != nil || got.Results[0].Summary != "Authorization: Basic ***" {
		t.Errorf("%+v, %v", got.Results, err)
	}
}

// A secret is in no error either.
func TestSecretsInErrors(t *testing.T) {
	failing := failingSandbox{errors.New("running x p@ss word: broken")}
	_, err := command.New().Run(t.Context(), &checks.Env{
		Params: params(t, write(t, "#!/bin/sh\n"), "${secret:db}"), Sandbox: failing, Secrets: secrets{"db": "p@ss word"},
	})
	if err == nil || err.Error() != "running x ***: broken" || !errors.Is(err, failing.err) {
		t.Errorf("the error is %v", err)
	}
}

type failingSandbox struct{ err error }

func (f failingSandbox) Exec(context.Context, checks.Command) (checks.Output, error) {
	return checks.Output{}, f.err
}

// A program that was changed does not run; the finding says what it is and was.
func TestChangedProgram(t *testing.T) {
	path := write(t, "#!/bin/sh\necho old\n")
	p := params(t, path)
	if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch /root/wacht-ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := run(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), p.String("sha256")) || !strings.Contains(err.Error(), "allow the new digest") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat("/root/wacht-ran"); err == nil {
		_ = os.Remove("/root/wacht-ran")
		t.Error("it ran")
	}
}
