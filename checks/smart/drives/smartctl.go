package drives

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
)

// PerDrive is how long one drive may take to answer; one that hangs must not hide
// the others.
const PerDrive = 40 * time.Second

// perSerial is how long one may take to say its serial number.
const perSerial = 10 * time.Second

// Smartctl is that program, run by this process itself.
type Smartctl struct {
	Path    string // absolute
	Sandbox checks.Sandbox
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

// Find looks for smartctl in its usual places. The error is ErrNoSmartctl.
func Find(sandbox checks.Sandbox) (*Smartctl, error) {
	for _, path := range places() {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return &Smartctl{path, sandbox}, nil
		}
	}
	return nil, ErrNoSmartctl
}

// Scan implements Source.
func (s *Smartctl) Scan(ctx context.Context) ([]Device, error) {
	a, err := s.run(ctx, "--scan-open", "--json=c")
	if err != nil {
		return nil, fmt.Errorf("looking for drives: %w", err)
	}
	var scan struct {
		Devices []Device `json:"devices"`
	}
	if err := json.Unmarshal(a.JSON, &scan); err != nil {
		return nil, fmt.Errorf("looking for drives: reading what smartctl wrote: %w", err)
	}
	return scan.Devices, nil
}

// Ask implements Source.
func (s *Smartctl) Ask(ctx context.Context, d Device) (Answer, error) {
	if err := d.verify(); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, PerDrive)
	defer cancel()
	a, err := s.run(ctx, questions(d, unlessAsleep())...)
	// "SLEEP" is also what smartctl makes of a drive that does not answer at all.
	if err == nil && a.ExitStatus == Asleep && a.sleepMode() {
		return s.run(ctx, questions(d)...)
	}
	return a, err
}

// Serial asks a drive for its serial number only; it is empty when the drive
// doesn't say.
func (s *Smartctl) Serial(ctx context.Context, d Device) string {
	if d.verify() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, perSerial)
	defer cancel()
	a, err := s.run(ctx, d.address("--json=c", "--info", unlessAsleep())...)
	if err != nil {
		return ""
	}
	return a.Serial()
}

// Denied implements Source.
func (s *Smartctl) Denied() string {
	if runtime.GOOS == "linux" {
		return "it needs root, or the helper: systemctl enable --now wacht-smart-helper.socket"
	}
	return "it needs root"
}

func unlessAsleep() string { return fmt.Sprintf("--nocheck=standby,%d", Asleep) }

func questions(d Device, more ...string) []string {
	return d.address(append([]string{
		"--json=c", "--info", "--health", "--attributes", "--capabilities", "--log=selftest", "--log=devstat",
	}, more...)...)
}

// address adds which drive is meant to smartctl's options.
func (d Device) address(options ...string) []string {
	if d.Type != "" {
		options = append(options, "-d", d.Type)
	}
	return append(options, d.Name)
}

// verify refuses what would be an option of smartctl's, or worse.
func (d Device) verify() error {
	if !argument().MatchString(d.Name) || d.Type != "" && !argument().MatchString(d.Type) {
		return fmt.Errorf("smartctl found a drive whose name or type can't be given back to it: %.80q, %.80q", d.Name, d.Type)
	}
	return nil
}

// argument matches what is a name or a type, and not an option.
func argument() *regexp.Regexp { return regexp.MustCompile(`^[/A-Za-z0-9][-/A-Za-z0-9_,+.:@]*$`) }

func (s *Smartctl) run(ctx context.Context, args ...string) (Answer, error) {
	out, err := s.Sandbox.Exec(ctx, checks.Command{Path: s.Path, Args: args})
	if err != nil {
		return Answer{}, err
	}
	data := bytes.TrimSpace(out.Stdout)
	switch {
	case len(data) == 0:
		return Answer{}, fmt.Errorf("smartctl wrote nothing (exit status %d, %.200q)", out.ExitCode, out.Stderr)
	case !json.Valid(data):
		return Answer{}, fmt.Errorf("smartctl wrote no JSON: %.80q (exit status %d, %.200q)", data, out.ExitCode, out.Stderr)
	}
	return Answer{ExitStatus: out.ExitCode, JSON: data}, nil
}

// sleepMode says that smartctl thinks so.
func (a Answer) sleepMode() bool {
	var r struct {
		Smartctl struct {
			Messages []struct {
				Text string `json:"string"`
			} `json:"messages"`
		} `json:"smartctl"`
	}
	_ = json.Unmarshal(a.JSON, &r)
	for _, m := range r.Smartctl.Messages {
		if strings.Contains(m.Text, "SLEEP mode") {
			return true
		}
	}
	return false
}

// Serial is the drive's serial number, empty when the answer holds none.
func (a Answer) Serial() string {
	var r struct {
		Serial string `json:"serial_number"`
	}
	_ = json.Unmarshal(a.JSON, &r)
	return strings.TrimSpace(r.Serial)
}
