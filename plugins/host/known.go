package host

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// known is what is kept of a plugin from one start of the agent to the next, so that
// the agent need not start the plugin to know its check, and that a plugin which no
// longer runs is reported under the instances that it had.
type known struct {
	SHA256 string `json:"sha256"`
	YAML   []byte `json:"yaml"`
	// Found is what was discovered last, by check.
	Found map[string][]checks.Instance `json:"found,omitempty"`
}

func (p *plugin) knownPath() string { return filepath.Join(p.opts.KnownDir, p.Name+".json") }

// load reads what is known. What can't be read is not known.
func (p *plugin) load() {
	if p.opts.KnownDir == "" {
		return
	}
	data, err := os.ReadFile(p.knownPath())
	if err == nil {
		err = json.Unmarshal(data, &p.known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.opts.Logger.Warn("what is known of a plugin can't be read: it is asked again", "plugin", p.Name, "error", err)
		p.known = known{}
	}
}

// save keeps what is known. The caller holds mu.
func (p *plugin) save() {
	if p.opts.KnownDir == "" {
		return
	}
	data, err := json.Marshal(p.known)
	if err == nil {
		err = replace(p.knownPath(), data)
	}
	if err != nil {
		p.opts.Logger.Warn("what is known of a plugin is not kept", "plugin", p.Name, "error", err)
	}
}

// replace writes a file as the folder's owner's, in one step.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := makeKnown(dir); err != nil {
		return err
	}
	// Beneath a root, no link that the agent's user puts there leads elsewhere.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	name := ".new-" + rand.Text()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = root.Remove(name) }() // gone by then when all is well
	_, err = f.Write(data)
	if err == nil {
		err = giveTo(dir, f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(name, filepath.Base(path))
}

// makeKnown makes the folder, when it is not there. A link in its place is an error.
func makeKnown(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(dir)
	if err := parent.Mkdir(name, 0o700); err == nil {
		made, err := parent.Open(name)
		if err != nil {
			return err
		}
		defer made.Close()
		return giveTo(filepath.Dir(dir), made)
	}
	info, err := parent.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	return err
}

// current says whether the declaration that is known is that of the bytes allowed.
func (p *plugin) current() bool {
	if p.Companion != nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known.SHA256 == fmt.Sprintf("%x", p.SHA256) && len(p.known.YAML) > 0
}

// serves holds a companion to the checks that it must serve.
func (p *plugin) serves(told [][]byte) error {
	for _, data := range p.Companion.Declarations {
		want, err := checks.ParseSpec(data)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(told, func(t []byte) bool { return same(t, want) }) {
			return fmt.Errorf("it does not serve the check %s as this agent knows it: install agent and %s of one version", want.Name, p.Name)
		}
	}
	return nil
}

// same says whether a declaration, however it is laid out, is the one wanted.
func same(told []byte, want *checks.Spec) bool {
	spec, err := checks.ParseSpec(told)
	if err != nil || spec.Name != want.Name {
		return false
	}
	a, errA := yaml.Marshal(spec)
	b, errB := yaml.Marshal(want)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// declared holds a declaration to what the check of this name may declare, and to what
// the same program declared before.
func (p *plugin) declared(yaml []byte) error {
	if _, err := p.parse(yaml); err != nil {
		return err
	}
	if p.current() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !bytes.Equal(p.known.YAML, yaml) {
			return errors.New("it declares something else than when it was allowed, though its bytes are the same")
		}
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.SHA256, p.known.YAML = fmt.Sprintf("%x", p.SHA256), slices.Clone(yaml)
	p.save()
	return nil
}

func (p *plugin) parse(yaml []byte) (*checks.Spec, error) {
	if len(yaml) > pluginpb.MaxDeclarationBytes {
		return nil, fmt.Errorf("its declaration has %d bytes; at most %d are allowed", len(yaml), pluginpb.MaxDeclarationBytes)
	}
	spec, err := checks.ParseSpec(yaml)
	if err != nil {
		return nil, err
	}
	if spec.Name != p.Name {
		return nil, fmt.Errorf("it declares the check %q; a plugin called %s%s must declare %q", spec.Name, FilePrefix, p.Name, p.Name)
	}
	return spec, nil
}

// unknown is the declaration of a plugin that has never told its own.
const unknown = `name: %s
summary: A plugin that this machine's agent could not run yet
interval: 60s
timeout: 10s
systems: [linux, windows, darwin]
`

// declaration is what to show the check as.
func (p *plugin) declaration() (*checks.Spec, []byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if spec, err := p.parse(p.known.YAML); err == nil {
		return spec, p.known.YAML, nil
	}
	yaml := fmt.Appendf(nil, unknown, p.Name)
	spec, err := p.parse(yaml)
	return spec, yaml, err
}
