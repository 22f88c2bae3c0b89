// Package checks is the vocabulary that agent, collector and plugins share: what
// a check is, what it declares, and what one run of it found.
//
// A check measures and never judges: whether a measured value is a warning or an
// incident is a rule, and rules are the collector's. A check says of itself only
// whether the act it performs worked (ok), failed (critical) or could not be
// tried (unknown).
//
// The package depends on the standard library and a YAML parser alone, so that a
// plugin author who imports it takes nothing else along.
package checks

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// Status is the outcome of one item, in the order and with the numbers of the
// Monitoring Plugins' exit codes
// (https://www.monitoring-plugins.org/doc/guidelines.html#AEN78).
type Status uint8

// The four outcomes. Warning comes only from programs that judge themselves
// (Monitoring Plugins): a built-in check reports the other three.
const (
	OK Status = iota
	Warning
	Critical
	Unknown
)

var statusNames = [...]string{"ok", "warning", "critical", "unknown"}

// String returns the status in lower case: ok, warning, critical or unknown.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText writes the status's name.
func (s Status) MarshalText() ([]byte, error) {
	if int(s) >= len(statusNames) {
		return nil, fmt.Errorf("no status has number %d", uint8(s))
	}
	return []byte(statusNames[s]), nil
}

// UnmarshalText reads a status's name.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if name == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a status: use ok, warning, critical or unknown", text)
}

// MetricType says how a metric moves, as in Prometheus' exposition format.
type MetricType uint8

// A Gauge goes up and down; a Counter only rises, or restarts at zero.
const (
	Gauge MetricType = iota
	Counter
)

// String returns gauge or counter.
func (t MetricType) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Label is one dimension of a metric.
type Label struct {
	Name, Value string
}

// Metric is one figure of a result, in a base unit (seconds, bytes, ratio). Name
// is as declared in the check's Spec, without the wacht_<check>_ prefix that it
// gets in Prometheus' exposition. A figure that could not be had is left out;
// NaN and infinities are refused.
type Metric struct {
	Name   string
	Type   MetricType
	Labels []Label
	Value  float64
}

// Result is what one run found about one item.
type Result struct {
	// Item is what the result is about: a mount point, a drive's serial, an
	// address. It is empty for a check with a single subject, such as cpu.
	Item   string
	Status Status
	// Summary is one line for a person: what was seen, or which step failed and why.
	Summary string
	Metrics []Metric
	// Evidence is a few lines that help to understand a failure; it holds no secret.
	Evidence string
}

// Run is what one execution of a check gives.
type Run struct {
	Results []Result
	// Complete says that Results lists all items there are: an item that an earlier
	// complete run had and this one lacks has vanished.
	Complete bool
	// Sample is whatever the check wants to see again in Env.Last at its next run,
	// such as the counters from which rates are computed. It stays in the process. Of a
	// check that runs in a process of its own, which ends when nothing is due, a sample
	// outlives that process when it is a []byte, of at most 64 KiB.
	Sample any
}

// Limits of what one run may carry. Agent and collector both hold every run to
// them (Spec.Validate), plugins included.
const (
	MaxResults       = 2000 // results a run
	MaxMetrics       = 128  // metrics a result
	MaxLabels        = 4    // labels a metric
	MaxNameBytes     = 64   // a metric's, label's or parameter's name
	MaxItemBytes     = 256  // an item's name, or a label's value
	MaxSummaryBytes  = 1024 // a summary
	MaxEvidenceBytes = 4096 // evidence
	// MaxDeclarationBytes bounds a check.yaml that an agent sends its collector.
	MaxDeclarationBytes = 64 << 10
)

// Instance is one way to run a check on this machine: the check itself (Name "")
// or a named variant of it with its own parameters, such as http/webshop.
type Instance struct {
	Name   string
	Params Params
	// Items names what discovery saw, for people to read; it binds nothing.
	Items []string
}

// Check is a kind of test. Implementations keep no state between runs other than
// Run.Sample, start nothing that outlives the context, and end at its deadline.
type Check interface {
	// Spec returns the check's declaration. It is the same value at every call.
	Spec() *Spec
	// Discover finds what on this machine the check can test, without
	// configuration. No instance means that there is nothing.
	Discover(ctx context.Context, env *Env) ([]Instance, error)
	// Run tests once. An error says that the check could not run at all; it becomes
	// an unknown result. What failed inside the test is a Result.
	Run(ctx context.Context, env *Env) (Run, error)
}

// Env is what a check is given for one run.
type Env struct {
	// Params holds every parameter that the Spec declares, defaults filled in.
	Params Params
	// Last is the Sample of this instance's previous run, or nil at the first.
	Last any
	// Sandbox runs other programs; a check has no other way to start one.
	Sandbox Sandbox
	// Secrets gives credentials that the machine holds, by name.
	Secrets Secrets
}

// Sandbox runs programs of the machine: by absolute path, without a shell, with a
// clean environment and limits, and killed as a group when ctx ends.
type Sandbox interface {
	Exec(ctx context.Context, cmd Command) (Output, error)
}

// Command is a program to run. Path is absolute; Args do not include the name.
type Command struct {
	Path  string
	Args  []string
	Stdin []byte
	// SHA256, where it is set, is what the program's file must have. The bytes that
	// were verified are then the ones that run.
	SHA256 *[sha256.Size]byte
}

// Output is what a program that ended left. A program that could not be started,
// or was killed, is an error of Exec instead.
type Output struct {
	Stdout, Stderr []byte
	ExitCode       int
}

// Secrets looks credentials up by name on the machine that the check runs on.
type Secrets interface {
	Secret(name string) (Secret, error)
}

// Secret is a credential. It prints as ***; Reveal is the only way to its text.
// The text is behind a pointer, because fmt prints what an unexported field holds
// without asking its methods.
type Secret struct{ text *string }

// NewSecret wraps a credential's text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the credential for the one call that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String hides the credential.
func (Secret) String() string { return "***" }

// Format hides the credential from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// MarshalText hides the credential from encoders and structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
