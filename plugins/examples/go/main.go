// Command wacht-plugin-reboot is a check that is a program of its own.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins"
)

//go:embed check.yaml
var declaration []byte

type reboot struct{ spec *checks.Spec }

func (r reboot) Spec() *checks.Spec { return r.spec }

func (reboot) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}}, nil // one, without a name
}

func (reboot) Run(ctx context.Context, _ *checks.Env) (checks.Run, error) {
	_, err := os.Stat("/run/reboot-required")
	required, packages, summary := 0.0, 0.0, "no reboot is needed"
	if err == nil {
		list, _ := os.ReadFile("/run/reboot-required.pkgs")
		required, packages = 1, float64(len(strings.Fields(string(list))))
		summary = fmt.Sprintf("a reboot is needed for %.0f packages", packages)
	}
	return checks.Run{Complete: true, Results: []checks.Result{{Summary: summary, Metrics: []checks.Metric{
		{Name: "required", Value: required}, {Name: "packages", Value: packages},
	}}}}, ctx.Err()
}

func main() { plugins.Serve(reboot{plugins.MustSpec(declaration)}) }
