package plugins_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checktest"
	"github.com/wacht-io/wacht/plugins"
	"github.com/wacht-io/wacht/plugins/host"
	"github.com/wacht-io/wacht/plugins/plugintest"
)

//go:embed testdata/check.yaml
var declaration []byte

// counter is a check that counts its own runs and does as it is told.
type counter struct{ spec *checks.Spec }

func newCounter() counter { return counter{plugins.MustSpec(declaration)} }

func (c counter) Spec() *checks.Spec { return c.spec }

func (counter) Discover(_ context.Context, env *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}, {Name: "named", Params: checks.Params{"mode": env.Params["mode"]}, Items: []string{"one"}}}, nil
}

func (counter) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	summary := "counted"
	switch env.Params.String("mode") {
	case "refuse":
		return checks.Run{}, errors.New("mode: nothing to refuse")
	case "panic":
		panic("no way on")
	case "never":
		<-ctx.Done()
		return checks.Run{}, ctx.Err()
	case "secret":
		s, err := env.Secrets.Secret("key")
		if err != nil {
			return checks.Run{}, err
		}
		summary = "it has " + s.Reveal()
	case "program":
		out, err := env.Sandbox.Exec(ctx, checks.Command{Path: "/bin/echo", Args: []string{"from", "outside"}})
		if err != nil {
			return checks.Run{}, err
		}
		summary = strings.TrimSpace(string(out.Stdout))
	case "print":
		for range 1000 {
			fmt.Println("this goes nowhere") // and must not block
		}
	}
	n, _ := env.Last.(int)
	return checks.Run{Complete: true, Sample: n + 1, Results: []checks.Result{{
		Summary: summary, Metrics: []checks.Metric{{Name: "runs_total", Type: checks.Counter, Value: float64(n + 1)}},
	}}}, nil
}

func TestMain(m *testing.M) {
	if plugintest.Serving() {
		plugins.Serve(newCounter())
		return
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	plugintest.Run(t, newCounter(), checktest.Options{
		Discoverable: true,
		Refused:      []checktest.Refusal{{Params: checks.Params{"mode": {"refuse"}}, Name: "mode"}},
	})
}

func run(t *testing.T, c checks.Check, env *checks.Env, mode string) (checks.Run, error) {
	t.Helper()
	params, err := c.Spec().Params(checks.Params{"mode": {mode}})
	if err != nil {
		t.Fatal(err)
	}
	env.Params = params
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.Run(ctx, env)
}

func TestThroughThePipe(t *testing.T) {
	c := plugintest.Start(t, "counter")
	for _, tt := range []struct{ mode, summary, error string }{
		{mode: "now", summary: "counted"},
		{mode: "program", summary: "from outside"},
		{mode: "print", summary: "counted"},
		{mode: "refuse", error: "mode: nothing to refuse"},
		{mode: "panic", error: "the check broke: no way on"},
		{mode: "secret", error: `lets this plugin have no secret "key"`},
	} {
		r, err := run(t, c, &checks.Env{}, tt.mode)
		switch {
		case tt.error != "" && (err == nil || !strings.Contains(err.Error(), tt.error)):
			t.Errorf("%s: the error must hold %q, but is %v", tt.mode, tt.error, err)
		case tt.error == "" && (err != nil || r.Results[0].Summary != tt.summary):
			t.Errorf("%s: got %+v, %v", tt.mode, r, err)
		}
	}
	found, err := c.Discover(t.Context(), &checks.Env{})
	if err != nil || len(found) != 2 || found[1].Name != "named" || found[1].Params.String("mode") != "now" || found[1].Items[0] != "one" {
		t.Errorf("discovered %+v, %v", found, err)
	}
}

// A check that ends with its context ends before the agent gives it up, so that its
// process goes on.
func TestKeepsToItsDeadline(t *testing.T) {
	c := plugintest.Start(t, "counter")
	first, err := run(t, c, &checks.Env{}, "now")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Run(ctx, &checks.Env{Params: checks.Params{"mode": {"never"}}}); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("got %v, and the deadline is %v", err, ctx.Err())
	}
	second, err := run(t, c, &checks.Env{Last: first.Sample}, "now")
	if err != nil || second.Results[0].Metrics[0].Value != 2 {
		t.Errorf("the process did not go on: %+v, %v", second, err)
	}
}

// The second run sees what the first left, for each of two instances.
func TestSamplesStayApart(t *testing.T) {
	c := plugintest.Start(t, "counter")
	var last [2]any
	for n := range 3 {
		for i := range last {
			r, err := run(t, c, &checks.Env{Last: last[i]}, "now")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Results[0].Metrics[0].Value; got != float64(n+1) {
				t.Errorf("run %d of instance %d counts %v", n+1, i+1, got)
			}
			last[i] = r.Sample
		}
	}
}

type held map[string]string

func (h held) Secret(name string) (checks.Secret, error) {
	text, ok := h[name]
	if !ok {
		return checks.Secret{}, fmt.Errorf("there is no secret %s", name)
	}
	return checks.NewSecret(text), nil
}

func TestSecretsAreAllowedByName(t *testing.T) {
	self := plugintest.Self(t, "counter")
	self.Secrets = []string{"key"}
	c := plugintest.Host(t, host.Options{Plugins: []host.Plugin{self}}).Checks()[0]
	r, err := run(t, c, &checks.Env{Secrets: held{"key": "a word", "other": "hidden"}}, "secret")
	if err != nil || r.Results[0].Summary != "it has a word" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err = run(t, c, &checks.Env{Secrets: held{}}, "now"); err == nil || !strings.Contains(err.Error(), "there is no secret key") {
		t.Errorf("a secret that is missing must be named, but: %v", err)
	}
}
