package smart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// perDrive is how long one drive may take to answer; one that hangs must not hide
// the others.
const perDrive = 40 * time.Second

// asleep is the exit status asked for when a disk has spun down: bits that smartctl
// itself never sets together.
const asleep = exitUsage | exitOpen

// errNoSmartctl says that the program is missing.
var errNoSmartctl = errors.New("smartctl is not installed (package smartmontools)")

// smartctl runs that program.
type smartctl struct {
	path    string
	sandbox checks.Sandbox
}

func places() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{`C:\Program Files\smartmontools\bin\smartctl.exe`}
	case "darwin":
		return []string{"/usr/local/sbin/smartctl", "/opt/homebrew/sbin/smartctl", "/usr/local/bin/smartctl", "/opt/homebrew/bin/smartctl"}
	}
	return []string{"/usr/sbin/smartctl", "/sbin/smartctl", "/usr/local/sbin/smartctl", "/usr/bin/smartctl"}
}

func find(env *checks.Env) (*smartctl, error) {
	if path := env.Params.String("smartctl"); path != "" {
		return &smartctl{path, env.Sandbox}, nil
	}
	for _, path := range places() {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return &smartctl{path, env.Sandbox}, nil
		}
	}
	return nil, errNoSmartctl
}

// scan lists the drives there are.
func (s *smartctl) scan(ctx context.Context) ([]device, error) {
	r, err := s.json(ctx, "--scan-open", "--json=c")
	if err != nil {
		return nil, fmt.Errorf("looking for drives: %w", err)
	}
	return r.Devices, nil
}

// drive asks one drive, without waking one that has spun down.
func (s *smartctl) drive(ctx context.Context, d device) (*report, error) {
	if !argument().MatchString(d.Name) || d.Type != "" && !argument().MatchString(d.Type) {
		return nil, fmt.Errorf("smartctl found a drive whose name or type can't be given back to it: %.80q, %.80q", d.Name, d.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, perDrive)
	defer cancel()
	r, err := s.json(ctx, questions(d, fmt.Sprintf("--nocheck=standby,%d", asleep))...)
	// "SLEEP" is also what smartctl makes of a drive that does not answer at all.
	if err == nil && r.sleeping() && strings.Contains(r.problems(), "SLEEP mode") {
		return s.json(ctx, questions(d)...)
	}
	return r, err
}

func questions(d device, more ...string) []string {
	args := append([]string{
		"--json=c", "--info", "--health", "--attributes", "--capabilities", "--log=selftest", "--log=devstat",
	}, more...)
	if d.Type != "" {
		args = append(args, "-d", d.Type)
	}
	return append(args, d.Name)
}

// argument matches what is a name or a type, and not an option.
func argument() *regexp.Regexp { return regexp.MustCompile(`^[/A-Za-z0-9][-/A-Za-z0-9_,+.:@]*$`) }

func (s *smartctl) json(ctx context.Context, args ...string) (*report, error) {
	out, err := s.sandbox.Exec(ctx, checks.Command{Path: s.path, Args: args})
	if err != nil {
		return nil, err
	}
	r, err := read(out.Stdout)
	if err != nil {
		return nil, fmt.Errorf("%w (exit status %d, %.200q)", err, out.ExitCode, out.Stderr)
	}
	r.Smartctl.ExitStatus = out.ExitCode
	return r, nil
}
