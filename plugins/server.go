package plugins

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// server answers the agent's calls with the checks.
type server struct {
	pluginpb.UnimplementedCheckServer
	checks  []checks.Check
	samples *samples
}

func newServer(served []checks.Check) *server { return &server{checks: served, samples: newSamples()} }

// find returns the check of a name; the only one needs none.
func (s *server) find(name string) (checks.Check, error) {
	if name == "" && len(s.checks) == 1 {
		return s.checks[0], nil
	}
	for _, c := range s.checks {
		if c.Spec().Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("this program serves no check %q", name)
}

// contain turns a panic of the check into an error of the one call, and takes from
// other errors the code that the check may have from a call of its own.
func contain(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(codes.Internal, "the check broke: %v", r)
		}
	}()
	resp, err = handler(ctx, req)
	if err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		err = status.Error(codes.Unknown, err.Error())
	}
	return resp, err
}

// Describe gives the declarations.
func (s *server) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	out := &pluginpb.DescribeResponse{}
	for i, c := range s.checks {
		data, err := yaml.Marshal(c.Spec())
		switch {
		case err != nil:
			return nil, fmt.Errorf("writing the declaration: %w", err)
		case i == 0:
			out.Yaml = data
		default:
			out.More = append(out.More, data)
		}
	}
	return out, nil
}

// Discover has the check look for what there is.
func (s *server) Discover(ctx context.Context, req *pluginpb.DiscoverRequest) (*pluginpb.DiscoverResponse, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	env, err := environment(req.GetParams(), req.GetSecrets())
	if err != nil {
		return nil, err
	}
	check, err := s.find(req.GetCheck())
	if err != nil {
		return nil, err
	}
	found, err := check.Discover(ctx, env)
	if err != nil {
		return nil, err
	}
	return &pluginpb.DiscoverResponse{Instances: pluginpb.FromInstances(found)}, nil
}

// Run has the check test once.
func (s *server) Run(ctx context.Context, req *pluginpb.RunRequest) (*pluginpb.RunResponse, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	env, err := environment(req.GetParams(), req.GetSecrets())
	if err != nil {
		return nil, err
	}
	check, err := s.find(req.GetCheck())
	if err != nil {
		return nil, err
	}
	env.Last = s.samples.get(req.GetSample())
	run, err := check.Run(ctx, env)
	if err != nil {
		return nil, err
	}
	packed := checkpb.ToProto(check.Spec().Name, "", time.Time{}, 0, run)
	packed.PlannedMs = 0
	return &pluginpb.RunResponse{Run: packed, Sample: s.samples.put(run.Sample)}, nil
}

// inTime ends a bit before the agent's deadline, so that the answer is there by then.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	const most = time.Second
	return context.WithDeadline(ctx, deadline.Add(-min(most, max(0, time.Until(deadline)/10))))
}

func environment(params []*pluginpb.Param, given map[string]string) (*checks.Env, error) {
	ps, err := pluginpb.ToParams(params)
	if err != nil {
		return nil, err
	}
	return &checks.Env{Params: ps, Sandbox: sandbox.New(sandbox.Options{}), Secrets: secrets(given)}, nil
}

// secrets are those that the agent gave.
type secrets map[string]string

// Secret returns one of them.
func (s secrets) Secret(name string) (checks.Secret, error) {
	text, ok := s[name]
	if !ok {
		return checks.Secret{}, fmt.Errorf("the machine's own file lets this plugin have no secret %q: allow it with wacht-agent plugin allow --secret %s", name, name)
	}
	return checks.NewSecret(text), nil
}

// maxSamples is how many samples are kept: a machine has at most so many tasks.
const maxSamples = 1000

// samples keeps what a check wants to see again. It does not leave the process; the
// agent knows a sample by a number that no other process gives out. A sample of bytes
// the agent keeps itself, so that it outlives the process.
type samples struct {
	prefix string

	mu    sync.Mutex
	kept  map[string]any
	order []string // oldest first
	next  uint64
}

func newSamples() *samples { return &samples{prefix: rand.Text(), kept: map[string]any{}} }

// itself begins a sample of bytes; no number does.
const itself = '='

func (s *samples) put(sample any) []byte {
	if sample == nil {
		return nil
	}
	if data, ok := sample.([]byte); ok {
		return append([]byte{itself}, data...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	key := fmt.Sprintf("%s-%d", s.prefix, s.next)
	s.kept[key] = sample
	if s.order = append(s.order, key); len(s.order) > maxSamples {
		delete(s.kept, s.order[0])
		s.order = s.order[1:]
	}
	return []byte(key)
}

func (s *samples) get(key []byte) any {
	if len(key) > 0 && key[0] == itself {
		return key[1:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[string(key)]
}
