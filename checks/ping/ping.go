// Package ping sends ICMP echo requests and measures what comes back. It needs no
// rights where the kernel has ICMP sockets for everybody; elsewhere it needs those of
// root or CAP_NET_RAW, and says what to set without them.
package ping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/route"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// gatewayTarget is the target that stands for the machine's default gateway,
// whichever that is at the time: a laptop changes it.
const gatewayTarget = "gateway"

// patience is how long the answer to the last packet is awaited.
const patience = 2 * time.Second

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("ping")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds the default gateway where the system tells it.
func (*check) Discover(ctx context.Context, _ *checks.Env) ([]checks.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := route.Default()
	if errors.Is(err, route.ErrNone) || errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []checks.Instance{{
		Name:   gatewayTarget,
		Params: checks.Params{"targets": {gatewayTarget}},
		Items:  []string{found.Gateway.String()},
	}}, nil
}

// config is what a run was asked to do.
type config struct {
	targets  []string
	count    int
	interval time.Duration
}

func readConfig(ctx context.Context, p checks.Params) (config, error) {
	targets := slices.Compact(slices.Sorted(slices.Values(p.Strings("targets"))))
	cfg := config{targets: targets, count: int(p.Int("count")), interval: p.Duration("interval")}
	if end, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		if left := time.Until(end); cfg.takes() > left {
			return cfg, fmt.Errorf("parameters count and interval: %d targets take up to %s, more than the %s there are",
				len(targets), text.Duration(cfg.takes()), text.Duration(left))
		}
	}
	return cfg, nil
}

// takes is the longest that a run can take.
func (cfg config) takes() time.Duration {
	return time.Duration(outward.Rounds(len(cfg.targets))) * cfg.each()
}

func (cfg config) each() time.Duration {
	return time.Duration(cfg.count-1)*cfg.interval + patience
}

// answered is the Sample: the targets that have answered since the agent started.
type answered map[string]bool

// Run pings every target.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(ctx, env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	before, _ := env.Last.(answered)
	results := make([]checks.Result, len(cfg.targets))
	outward.Each(len(results), func(i int) {
		results[i] = cfg.target(ctx, cfg.targets[i], before[cfg.targets[i]])
	})
	if err := ctx.Err(); err != nil {
		return checks.Run{}, fmt.Errorf("waiting for answers: %w", err)
	}
	now := maps.Clone(before)
	if now == nil {
		now = make(answered)
	}
	for _, r := range results {
		if r.Status == checks.OK {
			now[r.Item] = true
		}
	}
	if len(results) == 1 {
		results[0].Item = "" // the instance's name says it
	}
	return checks.Run{Results: results, Complete: true, Sample: now}, nil
}

// target pings one target. One that has answered before is held to it.
func (cfg config) target(ctx context.Context, target string, answeredBefore bool) checks.Result {
	addr, err := address(ctx, target)
	if err != nil {
		return failure(target, err)
	}
	reply, err := echo(ctx, addr, cfg)
	if err != nil {
		return failure(target, err)
	}
	if target == gatewayTarget && reply.received == 0 && !answeredBefore && route.Neighbour(addr) {
		return checks.Result{Item: target, Status: checks.Unknown, Summary: fmt.Sprintf(
			"gateway %s is there, but has answered no ping since the agent started: it may be set not to", addr)}
	}
	return reply.result(target, addr)
}

func address(ctx context.Context, target string) (netip.Addr, error) {
	if target == gatewayTarget {
		found, err := route.Default()
		return found.Gateway, err
	}
	addrs, err := outward.Resolve(ctx, target)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("%s has no address", target)
	}
	return addrs[0], nil
}

// failure tells what could not be tried from what failed.
func failure(target string, err error) checks.Result {
	r := checks.Result{Item: target, Status: checks.Critical, Summary: text.Line(err.Error())}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		r.Status = checks.Unknown
	}
	return r
}

// reply is what came back from one target.
type reply struct {
	sent, received        int
	least, mean, most, sd time.Duration
}

func (p reply) result(target string, addr netip.Addr) checks.Result {
	var l metric.List
	l.Gauge("packets_sent", float64(p.sent))
	l.Gauge("packets_received", float64(p.received))
	if p.sent > 0 {
		l.Gauge("loss_ratio", float64(p.sent-p.received)/float64(p.sent))
	}
	l.Gauge("private", truth(addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsLoopback()))
	if p.received == 0 {
		return checks.Result{Item: target, Status: checks.Critical, Metrics: l,
			Summary: fmt.Sprintf("%s does not answer: %d packets lost", addr, p.sent)}
	}
	// The times are of the wall clock, which may have been set back meanwhile.
	l.Gauge("rtt_min_seconds", max(p.least, 0).Seconds())
	l.Gauge("rtt_avg_seconds", max(p.mean, 0).Seconds())
	l.Gauge("rtt_max_seconds", max(p.most, 0).Seconds())
	l.Gauge("rtt_stddev_seconds", p.sd.Seconds())
	return checks.Result{Item: target, Metrics: l, Summary: fmt.Sprintf("%s answers in %s, %d of %d packets lost",
		addr, outward.Seconds(max(p.mean, 0)), p.sent-p.received, p.sent)}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
