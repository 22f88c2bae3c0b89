package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ControlGroup is a folder of the second version of Linux' control groups
// (https://docs.kernel.org/admin-guide/cgroup-v2.html) that this process may make
// groups in. What no controller bounds there, resource limits do, for each process.
type ControlGroup struct {
	path        string
	controllers []string
}

// controllers are those that bound a program.
func controllers() []string { return []string{"memory", "pids", "cpu"} }

// OwnControlGroup makes the control group that this process is in one that groups can
// be made in: the process moves into a group of its own below. It needs a group that
// was delegated, as systemd does with Delegate=.
func OwnControlGroup() (*ControlGroup, error) {
	mounted, err := controlGroups()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && own != "" {
			return delegated(mounted + "/" + strings.TrimSuffix(own, "/"+agentGroup))
		}
	}
	return nil, errors.New("this process is in no control group of its own")
}

// controlGroups is where the second version is mounted: alone, or beside the first.
func controlGroups() (string, error) {
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return path, nil
		}
	}
	return "", errors.New("this system has not the second version of control groups")
}

// agentGroup is what the process itself moves into: only a group without processes
// gives controllers to those below.
const agentGroup = "agent"

func delegated(path string) (*ControlGroup, error) {
	own := path + "/" + agentGroup
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := os.WriteFile(own+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, fmt.Errorf("moving into %s: %w", own, err)
	}
	available, err := os.ReadFile(path + "/cgroup.controllers")
	if err != nil {
		return nil, err
	}
	g := &ControlGroup{path: path}
	for _, name := range controllers() {
		if slices.Contains(strings.Fields(string(available)), name) {
			g.controllers = append(g.controllers, name)
		}
	}
	if len(g.controllers) == 0 {
		return g, nil
	}
	if err := os.WriteFile(path+"/cgroup.subtree_control", []byte("+"+strings.Join(g.controllers, " +")), 0); err != nil {
		return nil, fmt.Errorf("bounding groups in %s: %w", path, err)
	}
	return g, nil
}

// Missing lists what bounds no group here.
func (g *ControlGroup) Missing() []string {
	return slices.DeleteFunc(controllers(), func(name string) bool { return slices.Contains(g.controllers, name) })
}

// leaf is the group of one program.
type leaf struct{ dir *os.File }

// leaf makes a group with the program's limits, or none when there is no group.
func (g *ControlGroup) leaf(opts *ServiceOptions) (*leaf, error) {
	if g == nil {
		return nil, nil //nolint:nilnil // no group is a group that bounds nothing
	}
	path, err := os.MkdirTemp(g.path, "plugin-")
	if err != nil {
		return nil, fmt.Errorf("making its control group: %w", err)
	}
	for _, l := range g.limits(opts) {
		err := os.WriteFile(path+"/"+l.file, []byte(l.text), 0)
		if err != nil && !l.optional {
			return nil, errors.Join(fmt.Errorf("limiting its control group: %w", err), os.Remove(path))
		}
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening its control group: %w", err), os.Remove(path))
	}
	return &leaf{dir}, nil
}

type groupLimit struct {
	file, text string
	optional   bool // not every kernel has it
}

// limits are the files of a program's group. One processor is the most it may use.
func (g *ControlGroup) limits(opts *ServiceOptions) []groupLimit {
	var out []groupLimit
	has := func(name string) bool { return slices.Contains(g.controllers, name) }
	if has("memory") && opts.MaxMemory > 0 {
		out = append(out, groupLimit{"memory.max", strconv.FormatUint(opts.MaxMemory, 10), false},
			groupLimit{"memory.swap.max", "0", true}, groupLimit{"memory.oom.group", "1", true})
	}
	if has("pids") && opts.MaxProcesses > 0 {
		out = append(out, groupLimit{"pids.max", strconv.Itoa(opts.MaxProcesses), false})
	}
	if has("cpu") && opts.MaxCPU > 0 {
		out = append(out, groupLimit{"cpu.max", "100000 100000", false})
	}
	return out
}

// take puts a process into the group.
func (l *leaf) take(pid int) error {
	if err := os.WriteFile(l.dir.Name()+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("moving it into its control group: %w", err)
	}
	return nil
}

func (l *leaf) kill() {
	if l != nil {
		_ = os.WriteFile(l.dir.Name()+"/cgroup.kill", []byte("1"), 0) // Linux 5.14
	}
}

// remove removes the group, once the kernel has taken its processes out.
func (l *leaf) remove() {
	if l == nil {
		return
	}
	defer func() { _ = l.dir.Close() }()
	for range 100 {
		if err := os.Remove(l.dir.Name()); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
