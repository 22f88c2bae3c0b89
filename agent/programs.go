package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

// programInstances are the programs of the machine's own file, as instances of the
// check that runs them.
func programInstances(conf *config.Config, check string) []checks.Instance {
	if check != config.ProgramCheck {
		return nil
	}
	out := make([]checks.Instance, len(conf.Programs))
	for i := range conf.Programs {
		p := &conf.Programs[i]
		out[i] = checks.Instance{Name: p.Name, Params: p.Params(), Items: []string{p.Path}}
	}
	return out
}

// Program is an entry of the list of Monitoring Plugins programs that run on this
// machine.
type Program struct {
	Name   string   `json:"name"`
	Path   string   `json:"path"`
	SHA256 string   `json:"sha256"`
	Args   []string `json:"args,omitempty"`
	// Refused says why the agent does not run it.
	Refused string `json:"refused,omitempty"`
}

// Programs lists the programs that the machine's own file allows.
func Programs(opts Options) ([]Program, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, err
	}
	out := make([]Program, len(conf.Programs))
	for i, e := range conf.Programs {
		out[i] = Program{Name: e.Name, Path: e.Path, SHA256: fmt.Sprintf("%x", e.SHA256), Args: e.Args}
		sum, err := sandbox.Digest(e.Path)
		switch {
		case err != nil:
			out[i].Refused = err.Error()
		case sum != e.SHA256:
			out[i].Refused = fmt.Sprintf("the file has changed: its SHA-256 is %x", sum)
		}
	}
	slices.SortFunc(out, func(a, b Program) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// AddProgram lets the agent run a program with its arguments, as its file is now. It is
// run once; the answer is what that gave, and the line that was written into the
// machine's own file.
func AddProgram(ctx context.Context, opts Options, want Program) (_ *Outcome, line string, err error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, "", err
	}
	entry := &config.Program{Name: want.Name, Path: want.Path, Args: want.Args}
	if !filepath.IsAbs(entry.Path) {
		return nil, "", fmt.Errorf("%s is not an absolute path, which the agent could find again", entry.Path)
	}
	if entry.SHA256, err = sandbox.Digest(entry.Path); err != nil {
		return nil, "", err
	}
	path, _ := opts.configFile()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("reading the configuration: %w", err)
	}
	text, line, err := config.AddProgram(path, data, entry)
	if err != nil {
		return nil, "", err
	}
	outcome, err := tryProgram(ctx, &opts, conf, entry)
	if err != nil {
		return nil, "", fmt.Errorf("program %s is not added, since it does not run: %w", entry.Name, err)
	}
	if err := replaceFile(path, text); err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	return outcome, line, nil
}

// tryProgram runs the program once, as the agent would.
func tryProgram(ctx context.Context, opts *Options, conf *config.Config, entry *config.Program) (*Outcome, error) {
	all := ownChecks(opts, nil)
	i := slices.IndexFunc(all, func(c checks.Check) bool { return c.Spec().Name == config.ProgramCheck })
	if i < 0 {
		return nil, fmt.Errorf("this agent has no check %s", config.ProgramCheck)
	}
	env := environment(conf)
	params, err := all[i].Spec().Params(entry.Params())
	if err != nil {
		return nil, err
	}
	env.Params = params
	out := once(ctx, all[i], entry.Name, env)
	if r := out.Run.Results; !out.Run.Complete && len(r) > 0 {
		return nil, errors.New(r[0].Summary)
	}
	return &out, nil
}
