// Package disk measures the space left on each mounted filesystem.
package disk

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// mount is a filesystem and where it can be reached.
type mount struct {
	id       string // tells mounts apart that come one after the other at one point
	point    string // as the system names it
	device   string // what holds the data: filesystems with the same one share space
	kind     string
	readOnly bool
}

// usage is the room on a filesystem, in bytes and inodes. Filesystems without a
// fixed number of inodes have no inodes.
type usage struct {
	size, free         uint64
	inodes, inodesFree uint64
}

type check struct {
	spec *checks.Spec
	// mounts lists the filesystems that hold data, and ask asks one for its usage.
	mounts func(context.Context) ([]mount, error)
	ask    func(mount) (usage, error)
}

// New returns the check.
func New() checks.Check { return check{checks.MustDeclaration("disk"), mounts, ask} }

func (c check) Spec() *checks.Spec { return c.spec }

// Discover finds the mounted filesystems. Which there are is asked again at each
// run.
func (c check) Discover(ctx context.Context, env *checks.Env) ([]checks.Instance, error) {
	all, err := c.list(ctx, env)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	instance := checks.Instance{Items: make([]string, len(all))}
	for i, m := range all {
		instance.Items[i] = itemName(m.point)
	}
	return []checks.Instance{instance}, nil
}

// list returns the filesystems to ask, by mount point.
func (c check) list(ctx context.Context, env *checks.Env) ([]mount, error) {
	all, err := c.mounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the mounted filesystems: %w", err)
	}
	exclude := env.Params.Strings("exclude")
	all = slices.DeleteFunc(all, func(m mount) bool { return slices.Contains(exclude, m.point) })
	slices.SortFunc(all, func(a, b mount) int { return strings.Compare(a.point, b.point) })
	return all, nil
}

// Run asks all filesystems at once, and reports those that do not answer in time
// as unknown.
func (c check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	if err := ctx.Err(); err != nil {
		return checks.Run{}, err
	}
	all, err := c.list(ctx, env)
	if err != nil {
		return checks.Run{}, err
	}
	run := checks.Run{Complete: len(all) <= checks.MaxResults}
	all = all[:min(len(all), checks.MaxResults)]
	last, _ := env.Last.(questions)
	asked, answers := c.askAll(ctx, all, last)
	run.Sample = asked
	for i, m := range all {
		if result, ok := answers[i].result(m); ok {
			run.Results = append(run.Results, result)
		}
	}
	return run, nil
}

// result is what a person and the rules get to see of an answer. A mount point
// that is not a folder that can be reached is none.
func (a answer) result(m mount) (checks.Result, bool) {
	result := checks.Result{Item: itemName(m.point)}
	switch {
	case a.late:
		result.Status = checks.Unknown
		result.Summary = fmt.Sprintf("%s has not answered for %s", m.kind, text.Duration(a.waited))
	case a.err != nil && unreachable(a.err):
		return checks.Result{}, false
	case a.err != nil && refused(a.err):
		result.Status = checks.Unknown
		result.Summary = fmt.Sprintf("%s may not be asked: %v", m.kind, a.err)
	case a.err != nil:
		result.Status = checks.Critical
		result.Summary = fmt.Sprintf("%s can't be used: %v", m.kind, a.err)
	case a.size == 0 || mask(m, a.usage):
		return checks.Result{}, false
	default:
		result.Summary = a.summary(m)
		result.Metrics = a.metrics(m)
	}
	return result, true
}

// maskBytes is the size under which a tmpfs holds nothing: container runtimes
// mount such to hide a folder.
const maskBytes = 1 << 20

func mask(m mount, u usage) bool { return m.kind == "tmpfs" && u.size < maskBytes }

func (u usage) summary(m mount) string {
	out := fmt.Sprintf("%s of %s free (%s)", text.Bytes(u.free), text.Bytes(u.size), text.Percent(float64(u.free)/float64(u.size)))
	if u.inodes > 0 {
		if ratio := float64(u.inodesFree) / float64(u.inodes); ratio < 0.2 {
			out += ", " + text.Percent(ratio) + " of inodes free"
		}
	}
	if m.readOnly {
		out += ", read-only"
	}
	return out
}

func (u usage) metrics(m mount) []checks.Metric {
	var figures metric.List
	figures.Gauge("size_bytes", float64(u.size))
	figures.Gauge("free_bytes", float64(u.free))
	figures.Gauge("free_ratio", float64(u.free)/float64(u.size))
	if u.inodes > 0 {
		figures.Gauge("inodes_free_ratio", float64(u.inodesFree)/float64(u.inodes))
	}
	readOnly := 0.0
	if m.readOnly {
		readOnly = 1
	}
	figures.Gauge("readonly", readOnly)
	return figures
}

// itemName is a mount point as an item: bytes that are no text are written as
// numbers, and what is too long is cut and told apart by a hash.
func itemName(point string) string {
	name := point
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		quoted := strconv.Quote(name)
		name = quoted[1 : len(quoted)-1]
	}
	if len(name) <= checks.MaxItemBytes {
		return name
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(point))
	return strings.ToValidUTF8(name[:checks.MaxItemBytes-16], "") + fmt.Sprintf("…%08x", h.Sum32())
}

// answer is what a filesystem said, or that it has not said anything yet.
type answer struct {
	usage
	err    error
	late   bool
	waited time.Duration
}
