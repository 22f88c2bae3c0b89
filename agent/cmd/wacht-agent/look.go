package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wacht-io/wacht/agent"
	"github.com/wacht-io/wacht/checks"
)

func checkCommand() command {
	return command{
		name: "check", args: "NAME [key=value...]", summary: "Run one check now and print what it finds.",
		help: `Needs no collector. Without parameters the check runs on what it discovers here; a
parameter that takes a list is given once for each value. wacht-agent checks NAME
tells a check's parameters. The exit code says whether the check could be run, not
what it found.

Examples:
  wacht-agent check disk
  wacht-agent check disk --json
  wacht-agent check tcp address=www.example.net:443
`,
		flags: jsonFlag, run: check,
	}
}

func check(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return misused("check: the NAME of a check is missing: wacht-agent checks lists them")
	}
	params := checks.Params{}
	for _, arg := range c.args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return misused("check: %q is not key=value", arg)
		}
		params[key] = append(params[key], value)
	}
	spec, err := specOf(ctx, c.opts, c.args[0])
	if err != nil {
		return err
	}
	outcomes, err := agent.CheckOnce(ctx, c.opts, c.args[0], params)
	if errors.Is(err, agent.ErrNoCheck) || errors.Is(err, agent.ErrParams) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(outcomeJSON(spec, outcomes))
	}
	return printOutcomes(c.out, spec, outcomes)
}

// specOf finds a check, or nil.
func specOf(ctx context.Context, opts agent.Options, name string) (*checks.Spec, error) {
	all, err := agent.AllSpecs(ctx, opts)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, nil //nolint:nilnil // CheckOnce says which checks there are
}

type jsonRun struct {
	Check       string       `json:"check"`
	TookSeconds float64      `json:"took_seconds"`
	Complete    bool         `json:"complete"`
	Results     []jsonResult `json:"results"`
}

type jsonResult struct {
	Item     string        `json:"item"`
	Status   checks.Status `json:"status"`
	Summary  string        `json:"summary"`
	Metrics  []jsonMetric  `json:"metrics"`
	Evidence string        `json:"evidence,omitempty"`
}

type jsonMetric struct {
	Name   string            `json:"name"`
	Type   string            `json:"type"`
	Unit   string            `json:"unit"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// outcomeJSON puts the instances of a check together: their items carry their names.
func outcomeJSON(spec *checks.Spec, outcomes []agent.Outcome) jsonRun {
	out := jsonRun{Check: spec.Name, Complete: true, Results: []jsonResult{}}
	for _, o := range outcomes {
		out.TookSeconds += o.Took.Seconds()
		out.Complete = out.Complete && o.Run.Complete
		for _, r := range o.Run.Results {
			res := jsonResult{Item: r.Item, Status: r.Status, Summary: r.Summary, Evidence: r.Evidence, Metrics: []jsonMetric{}}
			for _, m := range r.Metrics {
				jm := jsonMetric{Name: m.Name, Type: m.Type.String(), Unit: unitOf(spec, m.Name), Value: m.Value}
				for _, l := range m.Labels {
					if jm.Labels == nil {
						jm.Labels = map[string]string{}
					}
					jm.Labels[l.Name] = l.Value
				}
				res.Metrics = append(res.Metrics, jm)
			}
			out.Results = append(out.Results, res)
		}
	}
	return out
}

func unitOf(spec *checks.Spec, metric string) string {
	if m := spec.Metric(metric); m != nil {
		return m.Unit
	}
	return ""
}

func printOutcomes(out io.Writer, spec *checks.Spec, outcomes []agent.Outcome) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, o := range outcomes {
		for _, r := range o.Run.Results {
			fmt.Fprintf(w, "%s\t%s\t%s\n", strings.TrimSpace(spec.Name+" "+r.Item), strings.ToUpper(r.Status.String()), r.Summary)
			for _, m := range r.Metrics {
				fmt.Fprintf(w, "  %s%s\t\t%s\n", m.Name, labelText(m.Labels), valueText(m.Value, unitOf(spec, m.Name)))
			}
			for line := range strings.Lines(r.Evidence) {
				fmt.Fprintf(w, "  | %s\n", strings.TrimRight(line, "\n"))
			}
		}
		if len(o.Run.Results) == 0 {
			fmt.Fprintf(w, "%s\t-\tnothing was found to check\n", strings.TrimSpace(spec.Name+" "+o.Instance))
		}
		fmt.Fprintf(w, "took %v\n", o.Took.Round(time.Millisecond))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func labelText(labels []checks.Label) string {
	if len(labels) == 0 {
		return ""
	}
	parts := make([]string, len(labels))
	for i, l := range labels {
		parts[i] = l.Name + "=" + l.Value
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// valueText writes a figure for people.
func valueText(v float64, unit string) string {
	switch unit {
	case "bytes":
		return bytesText(v)
	case "ratio":
		return fmt.Sprintf("%.1f %%", v*100)
	case "seconds":
		if v >= 60 || v <= -60 {
			return time.Duration(v * float64(time.Second)).Round(time.Second).String()
		}
		return fmt.Sprintf("%.4g s", v)
	}
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d %s", int64(v), unit)
	}
	return fmt.Sprintf("%.4g %s", v, unit)
}

func bytesText(v float64) string {
	unit := 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for ; (v >= 1024 || v <= -1024) && unit < len(units)-1; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	return fmt.Sprintf("%.1f %s", v, units[unit])
}

func discoverCommand() command {
	return command{
		name: "discover", summary: "List what on this machine can be checked.",
		help: `Needs no collector. What is found here runs without configuration, unless the
policy or the machine's own file says otherwise.

Example:
  wacht-agent discover --json
`,
		flags: jsonFlag, run: discover,
	}
}

func discover(ctx context.Context, c *call) error {
	found, err := agent.Discover(ctx, c.opts, c.logger().Warn)
	if err != nil {
		return err
	}
	if c.json {
		if found == nil {
			found = []agent.Found{}
		}
		return c.printJSON(found)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tINSTANCE\tITEMS")
	for _, f := range found {
		items := strings.Join(f.Items, ", ")
		if f.Forbidden {
			items = strings.TrimSpace(items + " (forbidden by this machine's own file)")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Check, orElse(f.Instance, "-"), items)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func checksCommand() command {
	return command{
		name: "checks", args: "[NAME]", summary: "List the checks that this agent has, or tell all of one.",
		help: `With a NAME it prints that check's parameters, metrics, steps and systems; with
--json that of every check.

Examples:
  wacht-agent checks
  wacht-agent checks disk
  wacht-agent checks --json
`,
		flags: jsonFlag, run: listChecks,
	}
}

func listChecks(ctx context.Context, c *call) error {
	if len(c.args) > 1 {
		return misused("checks takes one NAME at most")
	}
	specs, err := agent.AllSpecs(ctx, c.opts)
	if err != nil {
		return err
	}
	if len(c.args) == 1 {
		i := slices.IndexFunc(specs, func(s *checks.Spec) bool { return s.Name == c.args[0] })
		if i < 0 {
			return misused("there is no check %q: wacht-agent checks lists them", c.args[0])
		}
		specs = specs[i : i+1]
	}
	if c.json {
		return c.printJSON(specs)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, s := range specs {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Summary)
		if len(c.args) == 1 {
			describe(w, s)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func describe(w io.Writer, s *checks.Spec) {
	fmt.Fprintf(w, "\nevery %s, at most %s; on %s\n", s.Interval, s.Timeout, strings.Join(s.Systems, ", "))
	if len(s.Steps) > 0 {
		fmt.Fprintf(w, "\nSTEPS\n")
	}
	for _, st := range s.Steps {
		fmt.Fprintf(w, "  %s\t%s\n", st.Name, st.Summary)
	}
	if len(s.Parameters) > 0 {
		fmt.Fprintf(w, "\nPARAMETERS\n")
	}
	for _, p := range s.Parameters {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Name, typeText(&p), p.Summary)
	}
	fmt.Fprintf(w, "\nMETRICS\n")
	for _, m := range s.Metrics {
		name := m.Name
		if len(m.Labels) > 0 {
			name += "{" + strings.Join(m.Labels, ",") + "}"
		}
		fmt.Fprintf(w, "  %s\t%s, %s\t%s\n", name, m.Type, m.Unit, m.Summary)
	}
}

func typeText(p *checks.Parameter) string {
	text := string(p.Type)
	if len(p.Values) > 0 {
		text = strings.Join(p.Values, "|")
	}
	if p.List {
		text += "..."
	}
	switch {
	case p.Required:
		text += ", required"
	case len(p.Default) > 0:
		text += ", default " + strings.Join(p.Default, " ")
	}
	if p.Local {
		text += ", this machine's own file only"
	}
	return text
}
