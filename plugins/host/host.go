// Package host runs checks that are programs of their own, and shows each as a
// checks.Check. It starts a plugin when it is needed, from bytes that the machine's own
// file allows by their digest, keeps it in bounds, and ends it when it misbehaves or
// nobody needs it. What goes wrong is an error of the run that it hits, and so a
// finding; no plugin holds up another check.
//
// It speaks the protocol of github.com/hashicorp/go-plugin, which plugins are served
// with, without that library: linked with it, the agent takes 1.2 MiB more memory.
package host

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

// FilePrefix is what a plugin's file is called before the name of its check.
const FilePrefix = "wacht-plugin-"

// The limits of a plugin where its entry says nothing else.
const (
	DefaultMaxMemory    = 512 << 20 // bytes
	DefaultMaxProcesses = 256       // and threads
	DefaultMaxCPU       = 5 * time.Minute
)

// DefaultIdleAfter is a minute, and a bit so that a plugin which is called every minute
// goes on.
const DefaultIdleAfter = 75 * time.Second

// MaxPlugins is how many plugins there may be.
const MaxPlugins = 50

// Plugin is a program that the machine allows.
type Plugin struct {
	// Name is the check's.
	Name string
	// Path is the program's file and SHA256 its digest.
	Path   string
	SHA256 [sha256.Size]byte
	// User is whom it runs as; "" is a user of its own where the agent is root, else the
	// agent's.
	User string
	// Secrets are the names of the machine's credentials that it gets.
	Secrets []string
	// Companion is set for the program that comes with the agent.
	Companion *Companion
	// Limits; zero sets no bound.
	MaxMemory    uint64
	MaxProcesses int
	MaxCPU       time.Duration // within an hour

	number int // of its own user; all are the same before New
}

// Companion makes a program one that belongs to the agent as the agent's own code does:
// it serves checks that the agent knows beforehand, gets the credentials that their
// parameters name, and runs also where the kernel can't hide folders from it.
type Companion struct {
	// Declarations are the check.yaml of the checks that it must serve.
	Declarations [][]byte
}

// Options configure a host.
type Options struct {
	Plugins []Plugin
	// KnownDir is a folder of the agent's in which declarations are kept; "" keeps none.
	KnownDir string
	// Hidden are folders whose files no plugin may read.
	Hidden []string
	// Group is the control group that plugins' are made in; nil bounds them by
	// resource limits alone.
	Group *sandbox.ControlGroup
	// IdleAfter is when a process that nobody calls is stopped; 0 is DefaultIdleAfter.
	IdleAfter time.Duration
	Logger    *slog.Logger
}

// Host has the plugins of a machine.
type Host struct {
	checks  []checks.Check
	plugins []*plugin
	yaml    map[string][]byte
}

// New returns a host. It starts those plugins whose declaration is not known yet and
// waits for it, as long as a start may take and until ctx ends; whatever is not known
// then is a check that says so.
func New(ctx context.Context, opts Options) (*Host, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.IdleAfter == 0 {
		opts.IdleAfter = DefaultIdleAfter
	}
	h := &Host{yaml: map[string][]byte{}}
	var wg sync.WaitGroup
	for i, entry := range opts.Plugins {
		if entry.Companion != nil {
			i = MaxPlugins // no plugin is its user
		}
		entry.number += i
		p := newPlugin(entry, &opts)
		p.load()
		h.plugins = append(h.plugins, p)
		if !p.current() {
			wg.Go(func() {
				if s, err := p.acquire(ctx); err == nil { // an error is the finding of the first run
					p.release(s, nil)
				}
			})
		}
	}
	wg.Wait()
	for _, p := range h.plugins {
		all, err := newChecks(p)
		if err != nil {
			h.Close()
			return nil, err
		}
		for _, c := range all {
			h.checks = append(h.checks, c)
			h.yaml[c.spec.Name] = c.yaml
		}
	}
	return h, nil
}

// Checks returns the plugins' checks.
func (h *Host) Checks() []checks.Check { return h.checks }

// Declaration returns the check.yaml of a plugin's check, or false. There are none
// without a host.
func (h *Host) Declaration(check string) ([]byte, bool) {
	if h == nil {
		return nil, false
	}
	data, ok := h.yaml[check]
	return data, ok
}

// Untold names the checks whose plugins have never told a declaration.
func (h *Host) Untold() []string {
	var out []string
	for _, p := range h.plugins {
		if p.Companion == nil && !p.shows(h.yaml[p.Name]) {
			out = append(out, p.Name)
		}
	}
	return out
}

// Failures tells, by plugin, why plugins do not run now.
func (h *Host) Failures() map[string]error {
	out := map[string]error{}
	for _, p := range h.plugins {
		p.mu.Lock()
		if p.live == nil && p.failure != nil {
			out[p.Name] = p.failure
		}
		p.mu.Unlock()
	}
	return out
}

// Close ends all plugins.
func (h *Host) Close() {
	var wg sync.WaitGroup
	for _, p := range h.plugins {
		wg.Go(p.close)
	}
	wg.Wait()
}
