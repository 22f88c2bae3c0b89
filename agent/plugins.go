package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/plugins/host"
)

// knownName is the folder in the state folder that keeps what plugins have told.
const knownName = "plugins"

// untoldWait is how long the agent waits for plugins that have not told their
// declaration before, when it starts.
const untoldWait = 3 * time.Second

// gathered is the machine's configuration with the checks that there are.
type gathered struct {
	conf    *config.Config
	checks  []checks.Check
	plugins *host.Host // nil without plugins
}

func (g *gathered) close() error {
	if g.plugins != nil {
		g.plugins.Close()
	}
	return nil
}

// gathering says what to gather.
type gathering struct {
	stats func(context.Context) map[string]float64
	// bound has plugins bounded by control groups, for which this process moves.
	bound bool
}

// gather reads the configuration and gathers the checks. Of plugins it starts those
// that have not told their declaration yet.
func gather(ctx context.Context, opts *Options, what gathering) (*gathered, error) {
	g := &gathered{checks: ownChecks(opts, what.stats)}
	conf, err := loadConfig(opts, nil)
	if err != nil {
		return nil, err
	}
	if err := allowed(opts, conf, g.checks); err != nil {
		return nil, err
	}
	known := &config.Known{}
	if probe := findProbe(opts, conf, names(g.checks)); len(conf.Plugins) > 0 || probe != nil {
		with := hostOptions(opts, conf, conf.Plugins, what.bound)
		with.Plugins = append(with.Plugins, probe...)
		if g.plugins, err = host.New(ctx, with); err != nil {
			return nil, err
		}
		g.checks = append(g.checks, g.plugins.Checks()...)
		known.Untold = g.plugins.Untold()
	}
	known.Specs = specsOf(g.checks)
	if g.conf, err = loadConfig(opts, known); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// allowed holds the lists of plugins and programs to what the file itself can't tell.
func allowed(opts *Options, conf *config.Config, own []checks.Check) error {
	if len(conf.Plugins) == 0 && len(conf.Programs) == 0 {
		return nil
	}
	path, _ := opts.configFile()
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others than its owner can write to %s, which says what may run: chmod go-w %s", path, path)
	}
	absolute, err := filepath.Abs(path)
	if err == nil {
		err = sandbox.Guarded(absolute)
	}
	if err != nil {
		return fmt.Errorf("%s says what may run, but others can change that: %w", path, err)
	}
	for _, p := range conf.Plugins {
		if reserved(own, p.Name) {
			return fmt.Errorf("%s:%d: the agent has a check %s itself: no plugin can have its name", path, p.Line, p.Name)
		}
	}
	return nil
}

func hostOptions(opts *Options, conf *config.Config, entries []config.Plugin, bound bool) host.Options {
	out := host.Options{
		KnownDir: filepath.Join(conf.StateDir, knownName),
		Hidden:   []string{conf.StateDir, conf.SecretsDir},
		Logger:   opts.Logger,
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	for _, e := range entries {
		p := host.Plugin{
			Name: e.Name, Path: pluginPath(conf, e.Name), SHA256: e.SHA256, User: e.User, Secrets: e.Secrets,
			MaxMemory: host.DefaultMaxMemory, MaxProcesses: host.DefaultMaxProcesses, MaxCPU: host.DefaultMaxCPU,
		}
		if e.Memory > 0 {
			p.MaxMemory = uint64(e.Memory)
		}
		out.Plugins = append(out.Plugins, p)
	}
	if bound && runtime.GOOS == "linux" {
		out.Group = controlGroup(out.Logger)
	}
	return out
}

// controlGroup is what plugins' groups are made in, or nil.
func controlGroup(log *slog.Logger) *sandbox.ControlGroup {
	const alone = "resource limits bound each process of a plugin by itself: no control group bounds them together"
	group, err := sandbox.OwnControlGroup()
	if err != nil {
		log.Info(alone, "reason", err)
		return nil
	}
	if missing := group.Missing(); len(missing) > 0 {
		log.Info(alone, "missing", missing)
	}
	return group
}

func pluginPath(conf *config.Config, name string) string {
	return filepath.Join(conf.PluginDir, host.FilePrefix+name)
}

// Plugin is a file in the folder of plugins, or an entry of the list of those allowed.
type Plugin struct {
	Name string `json:"name"`
	Path string `json:"path"`
	// SHA256 is that of the entry, or else of the file.
	SHA256  string   `json:"sha256,omitempty"`
	User    string   `json:"user,omitempty"`
	Secrets []string `json:"secrets,omitempty"`
	Allowed bool     `json:"allowed"`
	// Refused says why the agent does not run it.
	Refused string `json:"refused,omitempty"`
}

// Plugins lists the plugins that are allowed and those that only lie in the folder.
func Plugins(opts Options) ([]Plugin, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, err
	}
	var out []Plugin
	for _, e := range conf.Plugins {
		p := Plugin{Name: e.Name, Path: pluginPath(conf, e.Name), SHA256: fmt.Sprintf("%x", e.SHA256), User: e.User, Secrets: e.Secrets, Allowed: true}
		sum, err := sandbox.Digest(p.Path)
		switch {
		case err != nil:
			p.Refused = err.Error()
		case sum != e.SHA256:
			p.Refused = fmt.Sprintf("the file has changed: its SHA-256 is %x", sum)
		}
		out = append(out, p)
	}
	files, err := filepath.Glob(pluginPath(conf, "*"))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", conf.PluginDir, err)
	}
	for _, path := range files {
		name := strings.TrimPrefix(filepath.Base(path), host.FilePrefix)
		if slices.ContainsFunc(out, func(p Plugin) bool { return p.Name == name }) {
			continue
		}
		out = append(out, Plugin{Name: name, Path: path, Refused: "it is not allowed: wacht-agent plugin allow " + path})
	}
	slices.SortFunc(out, func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// AllowPlugin lets the agent run a plugin, as the file is now. The plugin is started
// once, in the bounds that will hold for it, and asked for its declaration. want holds
// its path, and the user and secrets that are to change in its entry; the answer has
// the check's declaration.
func AllowPlugin(ctx context.Context, opts Options, want Plugin) (*Plugin, *checks.Spec, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, nil, err
	}
	entry, err := newEntry(conf, &want)
	if err != nil {
		return nil, nil, err
	}
	own := ownChecks(&opts, nil)
	if reserved(own, entry.Name) {
		return nil, nil, fmt.Errorf("the agent has a check %s itself: give the plugin's check, and its file, another name", entry.Name)
	}
	spec, err := tryPlugin(ctx, &opts, conf, entry)
	if err != nil {
		return nil, nil, err
	}
	path, _ := opts.configFile()
	if err := allow(path, entry); err != nil {
		return nil, nil, err
	}
	return &Plugin{
		Name: entry.Name, Path: pluginPath(conf, entry.Name), SHA256: fmt.Sprintf("%x", entry.SHA256),
		User: entry.User, Secrets: entry.Secrets, Allowed: true,
	}, spec, nil
}

// newEntry makes an entry of what the person wants.
func newEntry(conf *config.Config, want *Plugin) (*config.Plugin, error) {
	path, err := filepath.Abs(want.Path)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", want.Path, err)
	}
	name, ok := strings.CutPrefix(filepath.Base(path), host.FilePrefix)
	if !ok {
		return nil, fmt.Errorf("%s is not called %sNAME, after the check in it", path, host.FilePrefix)
	}
	if filepath.Dir(path) != conf.PluginDir {
		return nil, fmt.Errorf("%s is not in the folder of plugins: install -D -m 755 %s %s", path, path, pluginPath(conf, name))
	}
	entry := &config.Plugin{Name: name}
	for _, old := range conf.Plugins { // what it says besides the digest stays
		if old.Name == name {
			*entry = old
		}
	}
	if want.User != "" {
		entry.User = want.User
	}
	if len(want.Secrets) > 0 {
		entry.Secrets = want.Secrets
	}
	if entry.SHA256, err = sandbox.Digest(path); err != nil {
		return nil, err
	}
	return entry, nil
}

// tryPlugin starts the plugin once. What it declares is kept for the agent.
func tryPlugin(ctx context.Context, opts *Options, conf *config.Config, entry *config.Plugin) (*checks.Spec, error) {
	with := hostOptions(opts, conf, []config.Plugin{*entry}, false)
	if _, err := os.Stat(conf.StateDir); err != nil {
		with.KnownDir = "" // the agent, whose folder it will be, asks again
	}
	h, err := host.New(ctx, with)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	err = h.Failures()[entry.Name]
	if err == nil {
		err = ctx.Err() // cut short before it told anything
	}
	if err != nil {
		return nil, fmt.Errorf("plugin %s is not allowed, since it does not run: %w", entry.Name, err)
	}
	return h.Checks()[0].Spec(), nil
}

// allow writes the entry into the machine's own file.
func allow(path string, entry *config.Plugin) error {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	text, err := config.AllowPlugin(path, data, entry)
	if err != nil {
		return err
	}
	if err := replaceFile(path, text); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// replaceFile replaces a file in one step, and keeps its mode and owner.
func replaceFile(path string, data []byte) error {
	mode := os.FileMode(0o644)
	old, err := os.Stat(path)
	if err == nil {
		mode = old.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone by then when all is well
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), sameOwner(old, f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
