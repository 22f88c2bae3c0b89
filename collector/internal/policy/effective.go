package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Effective is a host's configuration: the tasks of which the layers say anything,
// with what they say. The rest is the agent's own: the declared interval, what it
// discovered, what its machine's file says. The revision is a digest of it, never 0.
//
// Within one layer a check's name says more than "*", and check/instance more than
// the check; between layers the higher one wins, whichever name it uses.
//
// Foreign names the checks of the host's agent that are not built in. They get no task
// from "*" alone: what their parameters and their sense of an interval are is known to
// the agent, which also refuses what does not fit.
func (p *Policy) Effective(h inventory.Host, foreign []string) *agentpb.Policy {
	s := rules.Subject{
		Customer: h.Customer, Site: h.Site, Host: h.Name, HostID: h.ID, Role: string(h.Role), Labels: h.Labels,
	}
	layers := p.forHost(&s)
	out := &agentpb.Policy{}
	for _, spec := range p.specs {
		if h.OS == "" || slices.Contains(spec.Systems, h.OS) {
			out.Tasks = append(out.Tasks, tasksFor(spec.Name, layers, func(t *task) bool { return len(t.set) > 0 })...)
		}
	}
	for _, check := range foreign {
		if p.spec(check) == nil {
			out.Tasks = append(out.Tasks, tasksFor(check, layers, func(t *task) bool { return t.named && len(t.set) > 0 })...)
		}
	}
	out.Revision = revision(out)
	return out
}

// tasksFor lists a check's tasks that count.
func tasksFor(check string, layers []*layer, counts func(*task) bool) []*agentpb.Task {
	var out []*agentpb.Task
	for _, name := range tasksOf(check, layers) {
		if t := mergeTask(name, layers); counts(&t) {
			out = append(out, t.proto(name))
		}
	}
	return out
}

// forHost lists the layers that hold for a host and say something of checks.
func (p *Policy) forHost(s *rules.Subject) []*layer {
	var out []*layer
	for _, l := range p.layers {
		if len(l.tasks) > 0 && l.active(p.asOf) && l.match.hostFits(s) {
			out = append(out, l)
		}
	}
	return out
}

// tasksOf lists a check's task and those of its instances that layers name.
func tasksOf(check string, layers []*layer) []taskName {
	names := []taskName{{check: check}}
	for _, l := range layers {
		for name := range l.tasks {
			if name.check == check && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b taskName) int { return strings.Compare(a.instance, b.instance) })
	return names
}

// task is a task with all its layers applied.
type task struct {
	taskPatch
	named bool // more than "*" speaks of it
}

func mergeTask(name taskName, layers []*layer) task {
	t := task{taskPatch: taskPatch{enabled: true, params: make(map[string][]string), set: make(map[string]rules.Origin)}}
	keys := slices.Compact([]taskName{{check: everyCheck}, {check: name.check}, name})
	for _, l := range layers {
		for _, key := range keys {
			if patch := l.tasks[key]; patch != nil {
				t.apply(patch)
				t.named = t.named || key.check != everyCheck
			}
		}
	}
	return t
}

func (t *task) apply(p *taskPatch) {
	for field, origin := range p.set {
		t.set[field] = origin
		switch field {
		case "enabled":
			t.enabled = p.enabled
		case "interval":
			t.interval = p.interval
		case "timeout":
			t.timeout = p.timeout
		}
	}
	maps.Copy(t.params, p.params)
}

func (t *task) proto(name taskName) *agentpb.Task {
	out := &agentpb.Task{
		Check: name.check, Instance: name.instance, Disabled: !t.enabled,
		IntervalMs: t.interval.D().Milliseconds(), TimeoutMs: t.timeout.D().Milliseconds(),
	}
	for _, param := range slices.Sorted(maps.Keys(t.params)) {
		out.Params = append(out.Params, &agentpb.Param{Name: param, Values: t.params[param]})
	}
	return out
}

// revision is a digest of the tasks.
func revision(p *agentpb.Policy) uint64 {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		// Only text that is not UTF-8 can't be encoded, and YAML has none.
		data = []byte(p.String())
	}
	sum := sha256.Sum256(data)
	return max(1, binary.BigEndian.Uint64(sum[:8]))
}

// Origins lists every value that holds for a subject and where it comes from: of its
// check (or instance) and of the check's rules and forecasts.
func (p *Policy) Origins(s rules.Subject) []rules.Setting {
	spec := p.spec(s.Check)
	if spec == nil {
		return nil
	}
	name := taskName{s.Check, s.Instance}
	t := mergeTask(name, p.forHost(&s))
	path := "checks." + name.String() + "."
	declared := places(spec)("", "", "")
	out := []rules.Setting{
		t.setting(path, "enabled", strconv.FormatBool(t.enabled), declared),
		t.setting(path, "interval", orDeclared(t.interval, spec.Interval), declared),
		t.setting(path, "timeout", orDeclared(t.timeout, spec.Timeout), declared),
	}
	for _, param := range spec.Parameters {
		values, set := t.params[param.Name]
		if !set {
			values = param.Default
		}
		if set || len(values) > 0 {
			out = append(out, t.setting(path, "params."+param.Name, strings.Join(values, ", "), declared))
		}
	}
	return append(out, p.book.Settings(s)...)
}

func (t *task) setting(path, field, value string, declared rules.Origin) rules.Setting {
	origin, ok := t.set[field]
	if !ok {
		origin = declared
	}
	return rules.Setting{Path: path + field, Value: value, Origin: origin}
}

func orDeclared(d, declared checks.Duration) string {
	if d == 0 {
		d = declared
	}
	return d.String()
}
