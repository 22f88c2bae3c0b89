// Package agent wires the agent together: the schedule runs checks, the spool keeps
// their runs, and the uplink carries them to the collector.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/schedule"
	"github.com/wacht-io/wacht/agent/internal/spool"
	"github.com/wacht-io/wacht/agent/internal/uplink"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/builtin"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/plugins/host"
)

// Options configure an agent. The zero value is that of an installed machine.
type Options struct {
	// ConfigFile is the machine's own file; "" reads the default one where it exists.
	ConfigFile string
	// StateDir and Collector override what the file says.
	StateDir, Collector string
	// Dial opens connections to the collector; nil uses TCP, through the proxy that
	// HTTPS_PROXY names.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Checks gives the checks that there are, for a source of the agent's own figures;
	// nil gives the built-in ones.
	Checks func(stats func(context.Context) map[string]float64) []checks.Check
	// Declaration gives a check's check.yaml; nil gives the built-in ones.
	Declaration func(check string) ([]byte, error)
	// Machine describes the machine; nil finds it out.
	Machine *agentpb.Machine
	// BootID changes at each boot; "" finds it out.
	BootID string
	// Version is the program's.
	Version string
	// Leaving says why the process is being ended; nil finds it out.
	Leaving func() agentpb.Goodbye_Reason
	// NoStatus leaves out the local socket that Status is asked over.
	NoStatus bool
	// Ready is called by Run when the watch has begun; nil tells nobody.
	Ready  func()
	Logger *slog.Logger
}

// DefaultConfigFile is the machine's own file where no other is named.
func DefaultConfigFile() string { return config.DefaultPath() }

// Agent is a running agent. It is made by New.
type Agent struct {
	opts     Options
	conf     *config.Config
	checks   []checks.Check
	plugins  *host.Host // nil when the machine allows none
	env      checks.Env
	spool    *spool.Spool
	uplink   *uplink.Uplink
	schedule *schedule.Scheduler
	address  string
	undo     []func() error // clean-up, run in reverse
	looked   chan struct{}  // closed when the machine has been looked at once

	mu         sync.Mutex
	hostID     string
	policy     *agentpb.Policy
	discovered map[string][]checks.Instance
	problems   string
	answered   string
	applied    bool
}

// New reads configuration and identity and opens the spool. Nothing runs until Start.
func New(opts Options) (_ *Agent, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Leaving == nil {
		opts.Leaving = leaving
	}
	a := &Agent{opts: opts, discovered: map[string][]checks.Instance{}, looked: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.cleanUp())
		}
	}()
	if err := a.load(); err != nil {
		return nil, err
	}
	a.env = environment(a.conf)
	if err := ownFolder(a.conf.StateDir); err != nil {
		return nil, err
	}
	id, err := enroll.Load(a.conf.StateDir)
	if err != nil {
		return nil, err
	}
	a.hostID = id.HostID
	if a.address, err = collectorAddress(a.conf); err != nil {
		return nil, err
	}
	a.policy = a.loadPolicy()
	if err := a.build(id); err != nil {
		return nil, err
	}
	return a, nil
}

// load reads the configuration and gathers the checks, those of plugins too.
func (a *Agent) load() error {
	ctx, cancel := context.WithTimeout(context.Background(), untoldWait)
	defer cancel()
	known, err := gather(ctx, &a.opts, gathering{stats: a.figures, bound: true})
	if err != nil {
		return err
	}
	a.undo = append(a.undo, known.close)
	a.conf, a.checks, a.plugins = known.conf, known.checks, known.plugins
	return nil
}

// ownChecks are the injected checks or the built-in ones.
func ownChecks(opts *Options, stats func(context.Context) map[string]float64) []checks.Check {
	if opts.Checks != nil {
		return opts.Checks(stats)
	}
	return builtin.All(builtin.Options{AgentStats: stats, Version: opts.Version})
}

func specsOf(all []checks.Check) []*checks.Spec {
	specs := make([]*checks.Spec, len(all))
	for i, c := range all {
		specs[i] = c.Spec()
	}
	return specs
}

// loadConfig reads the machine's own file, with the overrides applied. Without known
// it leaves out what the file says of checks.
func loadConfig(opts *Options, known *config.Known) (*config.Config, error) {
	path, must := opts.configFile()
	conf, err := config.Load(path, must, known)
	if err != nil {
		return nil, err
	}
	if opts.StateDir != "" {
		if conf.StateDir, err = filepath.Abs(opts.StateDir); err != nil {
			return nil, fmt.Errorf("finding the state folder: %w", err)
		}
	}
	if opts.Collector != "" {
		if conf.Collector, err = config.Address(opts.Collector); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// configFile is the machine's own file, and whether it has to exist.
func (o *Options) configFile() (path string, must bool) {
	if o.ConfigFile == "" {
		return config.DefaultPath(), false
	}
	return o.ConfigFile, true
}

func environment(conf *config.Config) checks.Env {
	return checks.Env{Sandbox: sandbox.New(sandbox.Options{}), Secrets: config.Secrets{Dir: conf.SecretsDir}}
}

// addressName is the file in the state folder that keeps the collector's address
// from the joining.
const addressName = "collector"

func collectorAddress(conf *config.Config) (string, error) {
	if conf.Collector != "" {
		return conf.Collector, nil
	}
	data, err := os.ReadFile(filepath.Join(conf.StateDir, addressName))
	if err != nil {
		return "", fmt.Errorf("no collector is configured: set collector in %s or join again: %w", config.DefaultPath(), err)
	}
	return config.Address(strings.TrimSpace(string(data)))
}

func (a *Agent) build(id *enroll.Identity) error {
	ctx := context.Background()
	boot := a.opts.BootID
	if boot == "" {
		boot = enroll.BootID(ctx)
	}
	machine := a.opts.Machine
	if machine == nil {
		machine = enroll.Machine(ctx, a.conf.Role, a.opts.Version)
	}
	var err error
	a.spool, err = spool.Open(spool.Options{
		Dir: a.conf.StateDir, Owner: id.HostID, MaxBytes: a.conf.SpoolBytes, MemoryBytes: a.conf.SpoolMemory,
		BootID: boot, Logger: a.opts.Logger,
	})
	if err != nil {
		return err
	}
	a.undo = append(a.undo, a.spool.Close)
	a.schedule = schedule.New(schedule.Options{
		Host: id.HostID, Sink: a.keep, Sandbox: a.env.Sandbox, Secrets: a.env.Secrets,
		Evidence: a.conf.Evidence, ClockSet: a.clockSet, Logger: a.opts.Logger,
	})
	a.uplink, err = uplink.New(uplink.Options{
		Address: a.address, Dial: a.opts.Dial, StateDir: a.conf.StateDir, Identity: id, Spool: a.spool,
		Machine: machine, Checks: a.digests(), Declaration: a.declaration(),
		Policy: a.applyPolicy, Revision: a.revision, Renamed: a.renamed, Now: a.schedule.Now, Logger: a.opts.Logger,
	})
	return err
}

// keep hands a run from the schedule to the spool.
func (a *Agent) keep(run *checkpb.Run) {
	if err := a.spool.Append(run); err != nil {
		a.opts.Logger.Error("a run is lost", "check", run.GetCheck(), "error", err)
	}
}

// clockSet begins an epoch for the runs that are planned by the new clock, which the
// collector gets to know by a new Hello.
func (a *Agent) clockSet() {
	a.spool.StartEpoch()
	a.uplink.Restart()
}

// Start starts the watch. It returns at once; discovery and connecting go on.
func (a *Agent) Start() {
	a.background(a.uplink.Run)
	a.background(a.schedule.Run)
	a.background(a.configure)
	for _, c := range a.wanted() {
		if a.isPlugin(c) {
			a.background(a.configurePlugin(c))
		}
	}
	a.undo = append(a.undo, func() error {
		a.uplink.Leave(a.opts.Leaving())
		return nil
	})
	if !a.opts.NoStatus {
		a.serveStatus()
	}
}

// background runs f until clean-up, which waits for it.
func (a *Agent) background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	a.undo = append(a.undo, func() error {
		cancel()
		<-done
		return nil
	})
}

// Stop ends the watch: runs under way are cancelled, what is live is sent, and the
// rest is written to disk.
func (a *Agent) Stop() error { return a.cleanUp() }

func (a *Agent) cleanUp() error {
	var errs []error
	for len(a.undo) > 0 {
		last := len(a.undo) - 1
		f := a.undo[last]
		a.undo = a.undo[:last]
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Run runs an agent until ctx ends.
func Run(ctx context.Context, opts Options) error {
	a, err := New(opts)
	if err != nil {
		return err
	}
	a.Start()
	if opts.Ready != nil {
		opts.Ready()
	}
	<-ctx.Done()
	return a.Stop()
}

// figures are what the agent check reports of its surroundings.
func (a *Agent) figures(context.Context) map[string]float64 {
	if a.spool == nil || a.uplink == nil {
		return nil
	}
	sp, up := a.spool.Stats(), a.uplink.Status()
	out := map[string]float64{
		"spool_runs":               float64(sp.Runs),
		"spool_bytes":              float64(sp.Bytes),
		"dropped_runs_total":       float64(sp.Dropped),
		"certificate_left_seconds": up.Left.Seconds(),
	}
	if up.SkewKnown {
		out["clock_skew_seconds"] = up.Skew.Seconds()
	}
	return out
}

// rediscover is how often the agent looks for what is new on the machine.
const rediscover = 10 * time.Minute
