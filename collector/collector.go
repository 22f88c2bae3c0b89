// Package collector is what an MSP runs: it takes the results of agents in, judges
// them, keeps tickets and history, and tells people. The process is a library, so
// that a test can run it beside an agent.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/wacht-io/wacht/collector/internal/admin"
	"github.com/wacht-io/wacht/collector/internal/config"
	"github.com/wacht-io/wacht/collector/internal/expose"
	"github.com/wacht-io/wacht/collector/internal/ingest"
)

// Options say how a collector runs.
type Options struct {
	// ConfigFile is the collector's file; "" means the default one, if there is any.
	ConfigFile string
	// DataDir, Web and Agents override the file when they are not empty.
	DataDir, Web, Agents string
	// WebListener and AgentsListener are served instead of listening at addresses.
	WebListener, AgentsListener net.Listener
	Logger                      *slog.Logger
	Version                     string
	// Ready is called by Run when the collector serves; nil tells nobody.
	Ready func()
	// MustExist refuses a command on a data folder that holds nothing yet.
	MustExist bool
}

// Collector is a running collector.
type Collector struct {
	opt    Options
	config config.Config
	log    *slog.Logger
	core   *core
	// cleanup is run last to first by Stop, and when starting fails half-way.
	cleanup     []func(context.Context) error
	web, agents net.Listener
	failed      chan error
}

// New opens the data folder and reads what it holds. Start begins to serve.
func New(ctx context.Context, opt Options) (*Collector, error) {
	cfg, err := config.Read(opt.ConfigFile)
	if err != nil {
		return nil, err
	}
	override(&cfg.DataDir, opt.DataDir)
	override(&cfg.Web, opt.Web)
	override(&cfg.Agents, opt.Agents)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{opt: opt, config: cfg, log: opt.Logger, failed: make(chan error, 3)}
	if c.core, err = openCore(ctx, cfg, expose.NewRegistry(opt.Version), opt, false); err != nil {
		return nil, err
	}
	c.onStop(func(context.Context) error { return c.core.close() })
	return c, nil
}

func override(field *string, by string) {
	if by != "" {
		*field = by
	}
}

func (c *Collector) onStop(f func(context.Context) error) { c.cleanup = append(c.cleanup, f) }

// Start begins to serve. When it fails, what was begun is ended.
func (c *Collector) Start(ctx context.Context) error {
	c.core.startServices()
	c.core.startEngine()
	for _, step := range []func(context.Context) error{c.serveAdmin, c.serveAgents, c.serveWeb} {
		if err := step(ctx); err != nil {
			return errors.Join(err, c.Stop(ctx))
		}
	}
	c.log.Info("the collector is ready", "web", c.WebAddr(), "agents", c.AgentsAddr(), "data_dir", c.config.DataDir)
	return nil
}

// Stop ends what Start began, last first, and makes everything taken in durable. It
// returns some time after ctx has ended, also when a part hangs; nothing that was
// acknowledged is lost by that.
func (c *Collector) Stop(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- c.unwind(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(hangTimeout):
		return errHangs
	}
}

var errHangs = errors.New("a part of the collector did not end in time")

func (c *Collector) unwind(ctx context.Context) error {
	var errs []error
	for i := len(c.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, c.cleanup[i](ctx))
	}
	c.cleanup = nil
	return errors.Join(errs...)
}

// stopTimeout bounds an orderly end; streams that hang are cut. hangTimeout is what
// the rest has after that: a commit and a sync of history, on a slow disk.
const (
	stopTimeout = 20 * time.Second
	hangTimeout = 30 * time.Second
)

// Run runs a collector until ctx ends or a listener fails.
func Run(ctx context.Context, opt Options) error {
	c, err := New(ctx, opt)
	if err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	if opt.Ready != nil {
		opt.Ready()
	}
	select {
	case <-ctx.Done():
		c.log.Info("the collector is stopping; a second signal ends it at once")
	case err = <-c.failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, c.Stop(stop))
}

// WebAddr is the address that pages and API are served at.
func (c *Collector) WebAddr() string { return c.web.Addr().String() }

// AgentsAddr is the address that agents connect to.
func (c *Collector) AgentsAddr() string { return c.agents.Addr().String() }

func (c *Collector) serveAdmin(ctx context.Context) error {
	l, err := admin.Listen(ctx, c.config.DataDir)
	if err != nil {
		return err
	}
	h, err := admin.Handler(c.core)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	// A backup takes as long as it takes.
	c.serveHTTP("the local socket", l, h, 0)
	return nil
}

func (c *Collector) serveWeb(ctx context.Context) (err error) {
	c.web, err = listen(ctx, c.opt.WebListener, c.config.Web)
	if err != nil {
		return fmt.Errorf("listening for browsers: %w", err)
	}
	h, err := c.core.routes(c.web.Addr().String())
	if err != nil {
		return errors.Join(err, c.web.Close())
	}
	c.serveHTTP("the web address", c.web, h, writeTimeout)
	return nil
}

// writeTimeout ends the answer to who does not read it.
const writeTimeout = 2 * time.Minute

func (c *Collector) serveHTTP(what string, l net.Listener, h http.Handler, write time.Duration) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: write, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.failed <- fmt.Errorf("serving %s: %w", what, err)
		}
	}()
	c.onStop(func(ctx context.Context) error {
		if err := s.Shutdown(ctx); err != nil {
			return errors.Join(fmt.Errorf("ending %s: %w", what, err), s.Close())
		}
		return nil
	})
}

func (c *Collector) serveAgents(ctx context.Context) (err error) {
	c.agents, err = listen(ctx, c.opt.AgentsListener, c.config.Agents)
	if err != nil {
		return fmt.Errorf("listening for agents: %w", err)
	}
	s := ingest.New(c.core.engine, c.core.authority, c.core.store, c.log)
	go func() {
		if err := s.Serve(c.agents); err != nil {
			c.failed <- fmt.Errorf("serving agents: %w", err)
		}
	}()
	c.onStop(func(ctx context.Context) error {
		stopAgents(ctx, s)
		return nil
	})
	return nil
}

// stopAgents lets streams end by themselves for a moment, and then ends them:
// agents keep what was not acknowledged.
func stopAgents(ctx context.Context, s *grpc.Server) {
	const patience = 500 * time.Millisecond
	done := make(chan struct{})
	go func() { s.GracefulStop(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(patience):
	case <-ctx.Done():
	}
	s.Stop()
	<-done
}

func listen(ctx context.Context, given net.Listener, addr string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}
