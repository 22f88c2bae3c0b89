package service

import (
	"context"
	"fmt"

	"github.com/wacht-io/wacht/checks"
)

// launchd asks launchctl for the jobs that were chosen; it discovers none.
type launchd struct{}

func newManager() manager { return launchd{} }

func (launchd) list(ctx context.Context, env *checks.Env, q query) ([]service, any, error) {
	if !q.chosen() {
		return nil, nil, ctx.Err()
	}
	out, err := env.Sandbox.Exec(ctx, checks.Command{Path: "/bin/launchctl", Args: []string{"list"}})
	if err != nil {
		return nil, nil, fmt.Errorf("asking launchd: %w", err)
	}
	if out.ExitCode != 0 {
		return nil, nil, fmt.Errorf("asking launchd: launchctl ended with status %d: %.200q", out.ExitCode, out.Stderr)
	}
	services, err := parseLaunchctl(out.Stdout, unique(q.units, func(label string) string { return label }))
	return services, nil, err
}
