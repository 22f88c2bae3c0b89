// Package uptime tells since when the system runs, and whether it should restart.
package uptime

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return check{checks.MustDeclaration("uptime")} }

func (c check) Spec() *checks.Spec { return c.spec }

// Discover finds the running system.
func (c check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) {
	return []checks.Instance{{}}, nil
}

// reboot says whether a restart is asked for, and why.
type reboot struct {
	known    bool
	required bool
	reasons  []string // what asks for it: a package, or an installer
}

// Run reads the time since the start and whatever asks for the next one.
func (c check) Run(ctx context.Context, _ *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	up, err := since(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("reading the time since the system started: %w", err)
	}
	boot := time.Now().Add(-up)
	r := rebootRequired(ctx, boot)
	var figures metric.List
	figures.Gauge("uptime_seconds", up.Seconds())
	// The two clocks are read one after the other: a second is as exact as it gets.
	figures.Gauge("boot_time_seconds", float64(boot.Round(time.Second).Unix()))
	if r.known {
		figures.Gauge("reboot_required", truth(r.required))
	}
	result := checks.Result{Summary: "up " + text.Duration(up) + r.summary(), Metrics: figures, Evidence: r.evidence()}
	return checks.Run{Results: []checks.Result{result}, Complete: true}, nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// shown is how many reasons a summary names.
const shown = 3

func (r reboot) summary() string {
	switch {
	case !r.required:
		return ""
	case len(r.reasons) == 0:
		return ", restart required"
	case len(r.reasons) > shown:
		return fmt.Sprintf(", restart required by %s and %d more", cut(strings.Join(r.reasons[:shown], ", "), checks.MaxSummaryBytes/2), len(r.reasons)-shown)
	}
	return ", restart required by " + cut(strings.Join(r.reasons, ", "), checks.MaxSummaryBytes/2)
}

func (r reboot) evidence() string {
	if len(r.reasons) <= shown {
		return ""
	}
	return cut(strings.Join(r.reasons, "\n"), checks.MaxEvidenceBytes)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
