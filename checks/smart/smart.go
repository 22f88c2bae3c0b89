// Package smart reads what drives know of their own health, through smartctl. A
// drive's history belongs to its serial number, whatever the system calls it.
package smart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
	"github.com/wacht-io/wacht/checks/smart/drives"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("smart")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds the drives that have something to tell.
func (c *check) Discover(ctx context.Context, env *checks.Env) ([]checks.Instance, error) {
	found, err := c.look(ctx, env, nil)
	if errors.Is(err, drives.ErrNoSmartctl) {
		return nil, nil
	}
	if err != nil || len(found.results) == 0 {
		return nil, err
	}
	instance := checks.Instance{}
	for _, r := range found.results {
		instance.Items = append(instance.Items, r.Item)
	}
	return []checks.Instance{instance}, nil
}

// Run asks every drive.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	known, _ := env.Last.(memory)
	found, err := c.look(ctx, env, known)
	if err != nil {
		return checks.Run{}, err
	}
	return checks.Run{Results: found.results, Complete: found.complete, Sample: found.memory}, nil
}

// source is who is asked for drives: smartctl, or the helper where this process is
// not root and there is one, or where the machine's file names either.
func (c *check) source(env *checks.Env) (drives.Source, error) {
	path, helper := env.Params.String("smartctl"), env.Params.String("helper")
	switch {
	case helper != "":
		return &drives.Helper{Socket: helper}, nil
	case path != "":
		return &drives.Smartctl{Path: path, Sandbox: env.Sandbox}, nil
	case os.Geteuid() > 0 && drives.Listens(drives.Socket):
		return &drives.Helper{Socket: drives.Socket}, nil
	}
	return drives.Find(env.Sandbox)
}

// memory is the Sample: the newest result of the drive behind each device.
type memory map[device]checks.Result

// device is where a drive was found.
type device struct{ Name, Type string }

// findings are the results of one look at all drives.
type findings struct {
	results  []checks.Result
	complete bool
	memory   memory
	denied   string // what to do when the system let nobody at a drive
}

// answer is what one drive said.
type answer struct {
	device device
	report *report
	err    error
}

func (c *check) look(ctx context.Context, env *checks.Env, known memory) (*findings, error) {
	source, err := c.source(env)
	if err != nil {
		return nil, err
	}
	answers, err := ask(ctx, source)
	if err == nil && slices.ContainsFunc(answers, answer.changed) {
		answers, err = ask(ctx, source)
	}
	if err != nil {
		return nil, err
	}
	f := &findings{complete: true, memory: make(memory), denied: source.Denied()}
	seen := make(map[string]string)
	for _, a := range answers {
		f.add(a, known, seen)
	}
	return f, nil
}

// ask asks all drives there are.
func ask(ctx context.Context, source drives.Source) ([]answer, error) {
	devices, err := source.Scan(ctx)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(devices))
	outward.Each(len(devices), func(i int) { answers[i] = askOne(ctx, source, devices[i]) })
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("asking drives: %w", err)
	}
	return answers, nil
}

func askOne(ctx context.Context, source drives.Source, d drives.Device) answer {
	a := answer{device: device{d.Name, d.Type}}
	if d.OpenError != "" {
		a.err = errors.New(d.OpenError)
		return a
	}
	said, err := source.Ask(ctx, d)
	if err != nil {
		a.err = err
		return a
	}
	if a.report, a.err = read(said.JSON); a.err == nil {
		a.report.Smartctl.ExitStatus = said.ExitStatus
	}
	return a
}

func (a answer) changed() bool { return errors.Is(a.err, drives.ErrChanged) }

// add takes up one drive's answer. A drive that two paths lead to counts once; seen
// holds the models by identity.
func (f *findings) add(a answer, known memory, seen map[string]string) {
	before, knownBefore := known.recall(a.device)
	if a.err == nil && a.report.sleeping() && knownBefore {
		before.Summary = strings.TrimSuffix(before.Summary, sleeps) + sleeps
		f.keep(a.device, before, seen, before.Item)
		return
	}
	if reason := a.unreadable(f.denied); reason != "" {
		f.unreadable(a, reason, before, seen)
		return
	}
	if a.report.silent() {
		return
	}
	f.keep(a.device, a.report.result(a.report.item(a.device), a.device), seen, a.report.name())
}

// unreadable adds a drive that could not be asked, under the name that it had.
func (f *findings) unreadable(a answer, reason string, before checks.Result, seen map[string]string) {
	r := checks.Result{Item: before.Item, Status: checks.Unknown, Summary: reason}
	switch {
	case r.Item != "":
		f.memory[a.device] = before
	case a.report != nil && a.report.identity() != "":
		r.Item = a.report.item(a.device)
	default:
		// It may be a drive with a history: none of those has vanished for certain.
		r.Item, f.complete = a.device.Name, false
	}
	f.keep(a.device, r, seen, r.Item)
}

const sleeps = ", asleep since then"

// recall finds what a device was. The type that smartctl gives it depends on
// whether it could be opened.
func (m memory) recall(d device) (checks.Result, bool) {
	if r, ok := m[d]; ok {
		return r, true
	}
	var found []checks.Result
	for other, r := range m {
		if other.Name == d.Name {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return checks.Result{}, false
	}
	return found[0], true
}

// keep adds a result. Two drives may bear one serial number: bad USB bridges.
func (f *findings) keep(d device, r checks.Result, seen map[string]string, model string) {
	if other, ok := seen[r.Item]; ok {
		if other == model {
			return
		}
		r.Item = text.Cut(r.Item+" "+d.Name, checks.MaxItemBytes)
	}
	seen[r.Item] = model
	f.results = append(f.results, r)
	if r.Status == checks.OK {
		f.memory[d] = r
	}
}

// unreadable says why a drive could not be asked, or nothing. What to do about a
// drive that the system let nobody at is in denied.
func (a answer) unreadable(denied string) string {
	name := a.device.Name
	switch {
	case a.err != nil:
		return cantRead(name, a.err.Error(), denied)
	case a.report.sleeping():
		return text.Line(name + " is asleep, and has not been asked since the agent started")
	case a.report.Smartctl.ExitStatus&(exitUsage|exitOpen) != 0:
		reason := a.report.problems()
		if reason == "" {
			reason = fmt.Sprintf("it gives no answer (smartctl's exit status %d)", a.report.Smartctl.ExitStatus)
		}
		return cantRead(name, reason, denied)
	case a.report.Support.Available && !a.report.Support.Enabled:
		return text.Line(fmt.Sprintf("SMART is switched off on %s: switch it on with smartctl --smart=on %s", name, name))
	}
	return ""
}

func cantRead(name, reason, denied string) string {
	if strings.Contains(reason, "Permission denied") || strings.Contains(reason, "Operation not permitted") {
		reason += "; " + denied
	}
	return text.Line(fmt.Sprintf("smartctl can't read %s: %s", name, reason))
}

func (r *report) sleeping() bool { return r.Smartctl.ExitStatus == drives.Asleep }

// silent says that the device has nothing to tell: a virtual disk, a card reader.
func (r *report) silent() bool { return r.Support.Known && !r.Support.Available }

// item names the drive: by its identity, or else by what the system calls it.
func (r *report) item(d device) string {
	if id := text.Line(r.identity()); id != "" {
		return text.Cut(id, checks.MaxItemBytes)
	}
	return d.Name
}

// result describes a drive that answered.
func (r *report) result(item string, d device) checks.Result {
	out := checks.Result{Item: item, Metrics: r.metrics()}
	var summary strings.Builder
	fmt.Fprintf(&summary, "%s (%s)", r.name(), d.Name)
	if r.failing() {
		summary.WriteString(", says that it is FAILING")
	}
	for _, m := range out.Metrics {
		switch m.Name {
		case "temperature_celsius":
			fmt.Fprintf(&summary, ", %.0f °C", m.Value)
		case "life_used_ratio":
			fmt.Fprintf(&summary, ", %s of its life used", text.Percent(m.Value))
		}
	}
	out.Summary = text.Line(summary.String())
	out.Evidence = r.evidence()
	return out
}

// evidence lists what is wrong, if anything.
func (r *report) evidence() string {
	var lines []string
	for _, a := range r.Attributes.Table {
		if a.WhenFailed != "" {
			lines = append(lines, fmt.Sprintf("attribute %d %s failed: %s (value %.0f, raw %s)", a.ID, a.Name, a.WhenFailed, a.Value.value, a.Raw.Text))
		}
	}
	if test := r.newestTest(); test.failed {
		lines = append(lines, "newest self-test: "+test.text)
	}
	if exit := r.Smartctl.ExitStatus; exit&(exitFailing|exitPrefail|exitSelfTest) != 0 {
		lines = append(lines, fmt.Sprintf("smartctl ended with status %d", exit))
	}
	for _, m := range r.Smartctl.Messages {
		if m.Severity == "error" {
			lines = append(lines, m.Text)
		}
	}
	for i := range lines {
		lines[i] = text.Line(lines[i])
	}
	return text.Cut(strings.Join(lines, "\n"), checks.MaxEvidenceBytes)
}
