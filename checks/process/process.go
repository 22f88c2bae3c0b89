// Package process counts the processes that match a name, a user or a command line,
// and sums up what they use. Command lines hold secrets: they are matched, and
// shown nowhere.
package process

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/process"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("process")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds nothing: only a person knows which programs matter.
func (*check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

// pattern is what a process must match; the parts that are cheap to read come first.
type pattern struct {
	name    string
	user    func(context.Context, *process.Process) bool
	command *regexp.Regexp
}

func readPattern(p checks.Params) (*pattern, error) {
	pat := &pattern{name: p.String("name")}
	var err error
	if text := p.String("command"); text != "" {
		if pat.command, err = regexp.Compile(text); err != nil {
			return nil, fmt.Errorf("parameter command: %w", err)
		}
	}
	if name := p.String("user"); name != "" {
		if pat.user, err = ownedBy(name); err != nil {
			return nil, fmt.Errorf("parameter user: %w", err)
		}
	}
	if pat.name == "" && pat.user == nil && pat.command == nil {
		return nil, errors.New("parameters name, user and command: one of them needs a value")
	}
	return pat, nil
}

// matches reads no more of the process than it takes to tell. What can't be read,
// or has just ended, does not match.
func (pat *pattern) matches(ctx context.Context, p *process.Process) bool {
	if pat.name != "" {
		name, err := p.NameWithContext(ctx)
		if err != nil || !sameName(name, pat.name) {
			return false
		}
	}
	if pat.user != nil && !pat.user(ctx, p) {
		return false
	}
	if pat.command == nil {
		return true
	}
	command, err := p.CmdlineWithContext(ctx)
	return err == nil && pat.command.MatchString(command)
}

// sameName compares as the system does. Windows' names end in .exe, which people
// leave out.
func sameName(name, wanted string) bool {
	if runtime.GOOS != "windows" {
		return name == wanted
	}
	const suffix = ".exe"
	return strings.EqualFold(strings.TrimSuffix(strings.ToLower(name), suffix), strings.TrimSuffix(strings.ToLower(wanted), suffix))
}

// identity tells processes apart also when a number is given out again.
type identity struct {
	pid     int32
	started int64 // milliseconds of the Unix epoch
}

// sample is what the next run needs to tell the processor time used in between.
type sample struct {
	at  time.Time
	cpu map[identity]float64 // seconds since the process started
}

// total is what the matching processes use together.
type total struct {
	count, rss uint64
	oldest     int64
	now        sample
}

// Run counts once.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	pat, err := readPattern(env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return checks.Run{}, fmt.Errorf("listing processes: %w", err)
	}
	sum := total{now: sample{time.Now(), make(map[identity]float64)}}
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return checks.Run{}, fmt.Errorf("looking at processes: %w", err)
		}
		if p := (&process.Process{Pid: pid}); pat.matches(ctx, p) {
			sum.add(ctx, p)
		}
	}
	last, _ := env.Last.(sample)
	return checks.Run{Results: []checks.Result{sum.result(last)}, Complete: true, Sample: sum.now}, nil
}

func (t *total) add(ctx context.Context, p *process.Process) {
	started, err := p.CreateTimeWithContext(ctx)
	if err != nil {
		return // it has just ended
	}
	t.count++
	if t.oldest == 0 || started < t.oldest {
		t.oldest = started
	}
	if mem, err := p.MemoryInfoWithContext(ctx); err == nil {
		t.rss += mem.RSS
	}
	if times, err := p.TimesWithContext(ctx); err == nil {
		t.now.cpu[identity{p.Pid, started}] = times.User + times.System
	}
}

func (t *total) result(last sample) checks.Result {
	var l metric.List
	l.Gauge("processes", float64(t.count))
	l.Gauge("rss_bytes", float64(t.rss))
	r := checks.Result{Summary: "no process matches"}
	if t.count > 0 {
		age := t.now.at.Sub(time.UnixMilli(t.oldest))
		l.Gauge("age_seconds", max(age, 0).Seconds())
		noun := "processes"
		if t.count == 1 {
			noun = "process"
		}
		r.Summary = fmt.Sprintf("%d %s, %s, running for %s", t.count, noun, text.Bytes(t.rss), text.Duration(max(age, 0)))
	}
	if passed := t.now.at.Sub(last.at); !last.at.IsZero() && passed > 0 {
		l.Gauge("cpu_ratio", t.now.since(last)/passed.Seconds())
	}
	r.Metrics = l
	return r
}

// since is the processor time used between two samples, in seconds. A process that
// started in between used all of its time in between.
func (s sample) since(last sample) float64 {
	used := 0.0
	for id, now := range s.cpu {
		used += max(now-last.cpu[id], 0)
	}
	return used
}
