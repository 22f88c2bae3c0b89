package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/plugins/pluginpb"
)

const (
	// startTimeout bounds how long a plugin takes to be ready.
	startTimeout = 10 * time.Second
	// lifetime is when a process is replaced by a new one, between two calls.
	lifetime = time.Hour
	// longestWait is the most between two starts of a plugin that fails.
	longestWait = 5 * time.Minute
)

var errClosed = errors.New("the agent stops")

// plugin is one plugin, with a process when it has one.
type plugin struct {
	Plugin
	opts   *Options
	ctx    context.Context // of its processes
	cancel context.CancelFunc
	wg     sync.WaitGroup // of starts and watches

	mu        sync.Mutex
	known     known
	live      *session
	starting  chan struct{} // closed when a start that is under way is over
	failure   error         // of the last start or process
	wait      *backoff.ExponentialBackOff
	notBefore time.Time
}

func newPlugin(p Plugin, opts *Options) *plugin {
	ctx, cancel := context.WithCancel(context.Background())
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.Multiplier, wait.MaxInterval, wait.RandomizationFactor = time.Second, 2, longestWait, 0
	return &plugin{Plugin: p, opts: opts, ctx: ctx, cancel: cancel, wait: wait}
}

// call has f call a process of the plugin, and judges how that went.
func (p *plugin) call(ctx context.Context, f func(context.Context, pluginpb.CheckClient) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := p.acquire(ctx)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	err = f(ctx, s.client)
	if err != nil {
		err = p.explain(ctx, s, err)
	}
	p.release(s, err)
	return err
}

// explain says what an error of a call means, and ends a process that hangs.
func (p *plugin) explain(ctx context.Context, s *session, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	st := status.Convert(err)
	if ctx.Err() != nil || st.Code() == codes.DeadlineExceeded && over(ctx) {
		s.endLater(errors.New("it did not answer by a deadline and was ended"))
		return fmt.Errorf("plugin %s did not answer and was ended: %w", p.Name, context.DeadlineExceeded)
	}
	switch st.Code() {
	case codes.Unavailable, codes.Canceled:
		s.lost(errors.New("the connection to it was lost: " + st.Message()))
		return fmt.Errorf("plugin %s: %w", p.Name, s.reason())
	case codes.ResourceExhausted:
		return fmt.Errorf("plugin %s answers with more than %d bytes: %s", p.Name, pluginpb.MaxMessageBytes, st.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("plugin %s: %w", p.Name, context.DeadlineExceeded)
	case codes.Unimplemented:
		return fmt.Errorf("plugin %s does not serve what plugin.proto asks for: %s", p.Name, st.Message())
	}
	return errors.New(st.Message())
}

// over says whether the context's deadline is there. A plugin that keeps to it has
// answered a bit before.
func over(ctx context.Context) bool {
	const moment = 10 * time.Millisecond
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < moment
}

// acquire returns a process that is ready, and starts one where there is none.
func (p *plugin) acquire(ctx context.Context) (*session, error) {
	for {
		s, started, err := p.try()
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-started:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for it to start: %w", ctx.Err())
		}
	}
}

// try returns a process, or when to try again, or why there is none.
func (p *plugin) try() (*session, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return nil, nil, errClosed
	}
	if s := p.live; s != nil && s.users == 0 && time.Since(s.began) > lifetime {
		p.live = nil
		s.endLater(nil)
	}
	if s := p.live; s != nil && s.ended() {
		p.live = nil
		p.failed(s.reason())
	}
	if s := p.live; s != nil && s.blamed() {
		return nil, s.done, nil
	}
	if s := p.live; s != nil {
		s.users++
		s.idle.Stop()
		return s, nil, nil
	}
	if p.starting != nil {
		return nil, p.starting, nil
	}
	if left := time.Until(p.notBefore); left > 0 {
		return nil, nil, fmt.Errorf("%w; it is started again in %s at the earliest", p.failure, left.Round(time.Second))
	}
	p.starting = make(chan struct{})
	p.wg.Go(p.start)
	return nil, p.starting, nil
}

// start starts a process, whoever waits for it.
func (p *plugin) start() {
	s, err := p.ready()
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.starting)
	p.starting = nil
	if err != nil {
		p.failed(err)
		return
	}
	p.live = s
	s.idle = time.AfterFunc(p.opts.IdleAfter, func() { p.stop(s) })
	p.wg.Go(func() { p.watch(s) })
}

// ready starts a process and holds it to its declaration.
func (p *plugin) ready() (*session, error) {
	ctx, cancel := context.WithTimeout(p.ctx, startTimeout)
	defer cancel()
	s, err := dial(p.ctx, ctx, &p.Plugin, p.opts)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Describe(ctx, &pluginpb.DescribeRequest{})
	switch {
	case err != nil && s.ended():
		err = s.reason()
	case err != nil:
		err = fmt.Errorf("it does not tell its declaration: %s", status.Convert(err).Message())
	case p.Companion != nil:
		err = p.serves(append(answer.GetMore(), answer.GetYaml()))
	default:
		err = p.declared(answer.GetYaml())
	}
	if err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

// failed has the next start wait. The caller holds mu.
func (p *plugin) failed(err error) {
	if p.ctx.Err() != nil {
		return
	}
	pause := p.wait.NextBackOff()
	p.failure, p.notBefore = err, time.Now().Add(pause)
	p.opts.Logger.Warn("a plugin does not run", "plugin", p.Name, "error", err, "again_in", pause.Round(time.Second))
}

// watch notices when a process ends that should go on.
func (p *plugin) watch(s *session) {
	<-s.done
	p.mu.Lock()
	defer p.mu.Unlock()
	s.idle.Stop()
	if p.live == s {
		p.live = nil
		p.failed(s.reason())
	}
}

// release gives a process back after a call.
func (p *plugin) release(s *session, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.users == 0 && p.live == s {
		s.idle.Reset(p.opts.IdleAfter)
	}
	if err == nil {
		p.wait.Reset()
	}
}

// stop ends a process that nobody has called for a while.
func (p *plugin) stop(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != s || s.users > 0 {
		return
	}
	p.live = nil
	s.endLater(nil)
}

// close ends the plugin's process and waits for everything that is under way.
func (p *plugin) close() {
	p.cancel()
	p.mu.Lock()
	s := p.live
	p.mu.Unlock()
	if s != nil {
		s.end(nil)
	}
	p.wg.Wait()
}
