package agent

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/statefile"
	"github.com/wacht-io/wacht/checks"
)

// discoverTimeout bounds one check's discovery.
const discoverTimeout = 15 * time.Second

// configure discovers and applies until ctx ends. Plugins are looked after beside it.
func (a *Agent) configure(ctx context.Context) {
	own := slices.DeleteFunc(a.wanted(), a.isPlugin)
	a.discover(ctx, own)
	close(a.looked)
	a.keepLooking(ctx, own)
}

// configurePlugin is configure for the check of one plugin, which holds up nobody else
// when it does not answer.
func (a *Agent) configurePlugin(c checks.Check) func(context.Context) {
	return func(ctx context.Context) {
		own := []checks.Check{c}
		a.discover(ctx, own)
		select {
		case <-a.looked:
			a.keepLooking(ctx, own)
		case <-ctx.Done():
		}
	}
}

// keepLooking applies what was discovered, and looks again and again.
func (a *Agent) keepLooking(ctx context.Context, which []checks.Check) {
	ticker := time.NewTicker(rediscover)
	defer ticker.Stop()
	for ; ; a.discover(ctx, which) {
		if ctx.Err() != nil {
			return
		}
		if answer := a.apply(nil); answer != nil {
			a.uplink.Answer(answer)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (a *Agent) isPlugin(c checks.Check) bool {
	_, ok := a.plugins.Declaration(c.Spec().Name)
	return ok
}

// discover asks checks what there is. One that fails, or does not end, leaves what it
// had found before.
func (a *Agent) discover(ctx context.Context, which []checks.Check) {
	found := discoverAll(ctx, which, &a.env, a.opts.Logger.Warn)
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(a.discovered, found)
}

// wanted are the checks that may run on this machine.
func (a *Agent) wanted() []checks.Check {
	return slices.DeleteFunc(slices.Clone(a.checks), func(c checks.Check) bool {
		return a.conf.Forbids(c.Spec().Name, "") || !slices.Contains(c.Spec().Systems, runtime.GOOS)
	})
}

type finding struct {
	check     string
	instances []checks.Instance
	err       error
}

// discoverAll runs the discoveries side by side. What fails is told to warn and
// left out.
func discoverAll(ctx context.Context, all []checks.Check, env *checks.Env, warn func(string, ...any)) map[string][]checks.Instance {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	results := make(chan finding, len(all)) // one that comes late blocks nobody
	for _, c := range all {
		go func() { results <- discoverOne(ctx, c, env) }()
	}
	out := map[string][]checks.Instance{}
	for range all {
		select {
		case f := <-results:
			if f.err != nil {
				warn("a check can't look for what there is", "check", f.check, "error", f.err)
				continue
			}
			out[f.check] = f.instances
		case <-ctx.Done():
			warn("some checks do not end looking for what there is", "found", len(out), "of", len(all))
			return out
		}
	}
	return out
}

func discoverOne(ctx context.Context, c checks.Check, env *checks.Env) (f finding) {
	f.check = c.Spec().Name
	defer func() {
		if r := recover(); r != nil {
			f.err = fmt.Errorf("the check broke: %v", r)
		}
	}()
	f.instances, f.err = c.Discover(ctx, env)
	return f
}

// apply puts the effective configuration in force. With a policy it takes that over
// and answers it; without one it answers only when an answer given before is no
// longer true.
func (a *Agent) apply(p *agentpb.Policy) *agentpb.PolicyAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p != nil {
		a.policy = p
	}
	tasks, answers, problems := config.Effective(config.Input{
		Checks: a.checks, Discovered: a.discovered, Policy: a.policy, Config: a.conf, OS: runtime.GOOS,
	})
	if text := fmt.Sprint(problems); text != a.problems {
		a.problems = text
		for _, err := range problems {
			a.opts.Logger.Warn("a check can't run", "error", err)
		}
	}
	a.schedule.Apply(tasks)
	a.retire(tasks)
	if a.policy == nil {
		return nil
	}
	answer := &agentpb.PolicyAnswer{Revision: a.policy.GetRevision(), Tasks: answers}
	text := answer.String()
	if p == nil && (a.answered == "" || a.answered == text) {
		return nil
	}
	a.answered = text
	return answer
}

// tasksName is the file that keeps what ran, so that the items of a task that is
// gone after a restart are said to have vanished.
const tasksName = "tasks.json"

type taskName struct {
	Check    string `json:"check"`
	Instance string `json:"instance,omitempty"`
}

func (a *Agent) retire(tasks []config.Task) {
	var names []taskName
	for i := range tasks {
		names = append(names, taskName{tasks[i].Check.Spec().Name, tasks[i].Instance})
	}
	path := filepath.Join(a.conf.StateDir, tasksName)
	var before []taskName
	if data, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(data, &before) // what can't be read names nothing
	}
	if !a.applied {
		a.applied = true
		for _, old := range before {
			switch {
			case slices.Contains(names, old):
			case a.unseen(old):
				names = append(names, old)
			default:
				a.schedule.Retire(old.Check, old.Instance)
			}
		}
	}
	if slices.Equal(before, names) {
		return
	}
	data, err := json.Marshal(names)
	if err == nil {
		err = statefile.Write(path, data)
	}
	if err != nil {
		a.opts.Logger.Warn("the list of tasks is not stored", "error", err)
	}
}

// unseen says of a task that is gone that it may be back: its check could not look
// for what there is.
func (a *Agent) unseen(t taskName) bool {
	_, looked := a.discovered[t.Check]
	has := slices.ContainsFunc(a.checks, func(c checks.Check) bool { return c.Spec().Name == t.Check })
	return has && !looked && !a.conf.Forbids(t.Check, t.Instance)
}

// applyPolicy is called by the uplink with a policy of the collector. Before the
// machine has been looked at there is nothing to apply it to.
func (a *Agent) applyPolicy(ctx context.Context, p *agentpb.Policy) *agentpb.PolicyAnswer {
	select {
	case <-a.looked:
	case <-ctx.Done():
		return nil
	}
	answer := a.apply(p)
	refused := 0
	for _, t := range answer.GetTasks() {
		if !t.GetApplied() {
			refused++
			a.opts.Logger.Warn("a task of the policy is refused", "check", t.GetCheck(), "instance", t.GetInstance(), "reason", t.GetReason())
		}
	}
	a.opts.Logger.Info("the policy was applied", "revision", p.GetRevision(), "tasks", len(p.GetTasks()), "refused", refused)
	if err := a.storePolicy(p); err != nil {
		a.opts.Logger.Error("the policy is not stored: the one before it will be in force after a restart", "error", err)
	}
	return answer
}

const policyName = "policy.json"

// storedPolicy is the policy with the host that it is for.
type storedPolicy struct {
	HostID string `json:"host_id"`
	Policy []byte `json:"policy"`
}

func (a *Agent) storePolicy(p *agentpb.Policy) error {
	packed, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("packing the policy: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	data, err := json.Marshal(storedPolicy{a.hostID, packed})
	if err != nil {
		return fmt.Errorf("encoding the policy: %w", err)
	}
	return statefile.Write(filepath.Join(a.conf.StateDir, policyName), data)
}

// loadPolicy returns the last policy of this host, or nil.
func (a *Agent) loadPolicy() *agentpb.Policy {
	path := filepath.Join(a.conf.StateDir, policyName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var stored storedPolicy
	p := &agentpb.Policy{}
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	if err == nil {
		err = proto.Unmarshal(stored.Policy, p)
	}
	if err != nil {
		a.opts.Logger.Error("the stored policy can't be read: checks run as they declare until the collector sends it again", "file", path, "error", err)
		return nil
	}
	if stored.HostID != a.hostID {
		return nil
	}
	return p
}

func (a *Agent) revision() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy.GetRevision()
}

// renamed follows the uplink when the machine got an identity of its own: the policy
// was another host's.
func (a *Agent) renamed(id *enroll.Identity) {
	a.mu.Lock()
	a.hostID, a.policy = id.HostID, nil
	a.mu.Unlock()
	select {
	case <-a.looked:
		_ = a.apply(nil)
	default: // it will be applied then
	}
}

// digests are the Hello's.
func (a *Agent) digests() []*agentpb.CheckDigest {
	declaration := a.declaration()
	var out []*agentpb.CheckDigest
	for _, c := range a.checks {
		data, err := declaration(c.Spec().Name)
		if err != nil {
			a.opts.Logger.Warn("a check has no declaration", "check", c.Spec().Name, "error", err)
			continue
		}
		sum := sha256.Sum256(data)
		out = append(out, &agentpb.CheckDigest{Check: c.Spec().Name, Sha256: sum[:]})
	}
	return out
}

// declaration gives the check.yaml of a check: a plugin's as the plugin told it.
func (a *Agent) declaration() func(string) ([]byte, error) {
	own := a.opts.Declaration
	if own == nil {
		own = checks.DeclarationFile
	}
	return func(check string) ([]byte, error) {
		if data, ok := a.plugins.Declaration(check); ok {
			return data, nil
		}
		return own(check)
	}
}

// Found is what Discover gives of one check.
type Found struct {
	Check    string        `json:"check"`
	Instance string        `json:"instance"`
	Items    []string      `json:"items,omitempty"`
	Params   checks.Params `json:"params,omitempty"`
	// Forbidden says that the machine's own file keeps it from running.
	Forbidden bool `json:"forbidden,omitempty"`
}

// Discover looks for what on this machine can be checked, without running an agent.
// Failures are told to warn, and leave a check out.
func Discover(ctx context.Context, opts Options, warn func(string, ...any)) (_ []Found, err error) {
	known, err := gather(ctx, &opts, gathering{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, known.close()) }()
	all, conf := known.checks, known.conf
	env := environment(conf)
	all = slices.DeleteFunc(all, func(c checks.Check) bool { return !slices.Contains(c.Spec().Systems, runtime.GOOS) })
	var out []Found
	for name, instances := range discoverAll(ctx, all, &env, warn) {
		for _, i := range append(instances, programInstances(conf, name)...) {
			out = append(out, Found{Check: name, Instance: i.Name, Items: i.Items, Params: i.Params, Forbidden: conf.Forbids(name, i.Name)})
		}
	}
	slices.SortFunc(out, func(x, y Found) int {
		return strings.Compare(x.Check+"\x00"+x.Instance, y.Check+"\x00"+y.Instance)
	})
	return out, nil
}
