package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Protocol is the version of the stream contract that this collector speaks.
const Protocol = 1

// RefusedError ends a stream, with what the agent is told.
type RefusedError struct {
	Code   agentpb.Refused_Code
	Reason string
}

func (e *RefusedError) Error() string { return e.Reason }

// Session is one stream of a host. Its Define and Submit are called by one
// goroutine, the stream's reader; Messages by another, its writer.
type Session struct {
	engine *Engine
	host   *host
	tasks  []*task
	states []*sessionState
	// lost says that samples of this stream did not reach history, so that nothing
	// after them may be acknowledged as archived; only the archiver touches it.
	lost bool
	// policy is the revision that the agent was last given.
	policy uint64
	out    *outgoing
}

// sessionState is what a stream's number for a state stands for.
type sessionState struct {
	state *state
	task  *task
	// order says where each of the stream's values goes among the state's columns;
	// it is nil when they stand in the same order, as they do but after an upgrade.
	order []int
	width int
	// summary is the one last sent, by lane, for results that do not repeat it.
	summary [2]string
}

// Connect begins a session for a host that proved its identity. The visit that
// Welcome gives is on disk when it returns. A session that the host still had ends.
func (e *Engine) Connect(ctx context.Context, hostID string, hello *agentpb.Hello) (*Session, *agentpb.Welcome, error) {
	var (
		s       *Session
		welcome *agentpb.Welcome
	)
	err := e.do(ctx, func(g *group) error {
		h, ok := e.hosts[hostID]
		if !ok {
			return &RefusedError{agentpb.Refused_REVOKED, "this host is not known here; enrol it again with a new token"}
		}
		if refused := e.admit(h, hello, g.now); refused != nil {
			h.finding(g.now, refused.Reason)
			return refused
		}
		s = &Session{engine: e, host: h, out: newOutgoing()}
		if h.session != nil {
			h.session.out.close()
		}
		h.session = s
		e.meet(h, hello, g.now)
		welcome = &agentpb.Welcome{
			HostId: h.ID, Customer: h.Customer, Site: h.Site, Cursors: h.mark.cursors(),
			Visit: h.Visit, NowMs: g.now.UnixMilli(), MaxMessageBytes: MaxMessageBytes,
		}
		g.marked[h] = struct{}{}
		s.sendPolicy(hello.PolicyRevision)
		return e.putHost(g, h)
	})
	if err != nil {
		return nil, nil, err
	}
	return s, welcome, nil
}

// MaxMessageBytes bounds one message of an agent.
const MaxMessageBytes = 4 << 20

// admit says why a host may not come in, or nil.
func (e *Engine) admit(h *host, hello *agentpb.Hello, now time.Time) *RefusedError {
	switch {
	case hello.Protocol != Protocol:
		return &RefusedError{agentpb.Refused_PROTOCOL_UNKNOWN,
			fmt.Sprintf("this collector speaks version %d of the protocol, the agent %d; upgrade the older of the two", Protocol, hello.Protocol)}
	case !h.RevokedAt.IsZero():
		return &RefusedError{agentpb.Refused_REVOKED, "this host was revoked; enrol it again with a new token"}
	case len(hello.Epochs) == 0 || len(hello.Epochs) > maxEpochs:
		return &RefusedError{agentpb.Refused_UNSPECIFIED,
			fmt.Sprintf("a hello names 1 to %d epochs, not %d", maxEpochs, len(hello.Epochs))}
	}
	same := sameMachine(h.Fingerprint, hello.GetMachine().GetFingerprint())
	stale := hello.Visit != h.Visit && hello.Visit != h.mark.Visit
	switch {
	case h.mark.reused(hello.Epochs):
		return reused("its runs carry sequence numbers that were used before")
	case !same:
		return reused("it runs on other hardware than the host that joined")
	case stale && h.session != nil && !h.session.out.isClosed():
		return reused("its state is older than that of a host that is connected now")
	case stale:
		h.finding(now, "the agent's state folder was rolled back or restored; what it held since is lost")
	}
	return nil
}

func reused(why string) *RefusedError {
	return &RefusedError{agentpb.Refused_EPOCH_REUSED,
		"this state folder is a copy: " + why + "; the agent takes an identity of its own"}
}

// meet takes over what the hello says of machine, clock and spool.
func (e *Engine) meet(h *host, hello *agentpb.Hello, now time.Time) {
	describe(&h.Host, hello.GetMachine())
	h.skew = time.UnixMilli(hello.NowMs).Sub(now)
	h.mark.meet(hello.Epochs, historyOffset(-h.skew))
	h.mark.Seen = now
	// The agent showed that it has stored the visit it came with.
	h.mark.Visit = hello.Visit
	h.Visit++
	h.GoodbyeAt, h.Goodbye = time.Time{}, ""
	if abs(h.skew) > maxSkew {
		h.finding(now, fmt.Sprintf("the clock is %s off; results are kept by the collector's time", h.skew.Round(time.Second)))
	}
}

// maxSkew is the clock error from which it is a finding.
const maxSkew = time.Minute

// historyOffset is what ticks are corrected by: whole seconds, and nothing for an
// error that a graph does not show, so that samples stand at exact ticks (the TSDB
// keeps those in a fifth of the space).
func historyOffset(d time.Duration) time.Duration {
	if abs(d) < 2*time.Second {
		return 0
	}
	return d.Round(time.Second)
}

func abs(d time.Duration) time.Duration {
	if d < 0 {
		return -d
	}
	return d
}

// describe takes what the machine says of itself over into the host's record. None
// of it decides what the host may do.
func describe(h *inventory.Host, m *agentpb.Machine) {
	if m == nil {
		return
	}
	h.Hostname = clip(m.Hostname)
	h.OS, h.Arch, h.Platform, h.Kernel = clip(m.Os), clip(m.Arch), clip(m.Platform), clip(m.Kernel)
	h.AgentVersion = clip(m.AgentVersion)
	h.Role = inventory.Server
	if m.Role == agentpb.Role_WORKSTATION {
		h.Role = inventory.Workstation
	}
	if m.BootTimeMs > 0 {
		h.BootedAt = time.UnixMilli(m.BootTimeMs)
	}
	if len(m.Fingerprint) > 0 && len(m.Fingerprint) <= 64 {
		h.Fingerprint = m.Fingerprint
	}
}

// clip bounds a text that is only shown.
func clip(s string) string {
	if len(s) > checks.MaxItemBytes {
		return s[:checks.MaxItemBytes]
	}
	return s
}

// Confirm notes that the agent has stored the visit of the Welcome: it sent
// something after it.
func (s *Session) confirm() {
	s.host.mark.Visit = s.host.Visit
}

// Define takes numbers for tasks and states. What can't be taken is an error that
// ends the stream: a number that is missing would spoil every later one.
func (s *Session) Define(d *agentpb.Definitions) error {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range d.Tasks {
		if err := s.defineTask(t); err != nil {
			s.host.finding(time.Now(), err.Error())
			return err
		}
	}
	for _, st := range d.States {
		if err := s.defineState(st); err != nil {
			s.host.finding(time.Now(), err.Error())
			return err
		}
	}
	return nil
}

func (s *Session) defineTask(d *agentpb.TaskDefinition) error {
	switch {
	case int(d.Number) != len(s.tasks)+1:
		return fmt.Errorf("task number %d does not follow %d", d.Number, len(s.tasks))
	case len(s.tasks) >= MaxTasks:
		return fmt.Errorf("more than %d tasks", MaxTasks)
	case !validName(d.Check) || !validText(d.Instance):
		return fmt.Errorf("task %d has no valid name", d.Number)
	}
	t := s.host.task(taskKey{d.Check, d.Instance})
	if t.spec = s.engine.specs[d.Check]; t.spec == nil {
		s.host.finding(time.Now(), fmt.Sprintf(
			"check %s is not known to this collector: its results are kept, but not judged; upgrade the collector", d.Check))
	}
	s.tasks = append(s.tasks, t)
	return nil
}

func (s *Session) defineState(d *agentpb.StateDefinition) error {
	switch {
	case int(d.Number) != len(s.states)+1:
		return fmt.Errorf("state number %d does not follow %d", d.Number, len(s.states))
	case len(s.states) >= 2*MaxStates:
		return fmt.Errorf("more than %d states defined in one stream", 2*MaxStates)
	case d.Task == 0 || int(d.Task) > len(s.tasks):
		return fmt.Errorf("state %d belongs to task %d, which is not defined", d.Number, d.Task)
	case !validText(d.Item) || len(d.Metrics) > checks.MaxMetrics:
		return fmt.Errorf("state %d is over a limit: items have at most %d bytes, results at most %d metrics",
			d.Number, checks.MaxItemBytes, checks.MaxMetrics)
	}
	t := s.tasks[d.Task-1]
	columns, err := columnsOf(d.Metrics)
	if err != nil {
		return fmt.Errorf("state %q of %s: %w", d.Item, t.check, err)
	}
	st, order, err := s.engine.stateFor(t, d.Item, columns)
	if err != nil {
		return err
	}
	s.states = append(s.states, &sessionState{state: st, task: t, order: order, width: len(columns)})
	return nil
}

// validName accepts what a check can be called; validText what an item or an
// instance can: bounded, and without control characters, which keys are joined with.
func validName(s string) bool {
	return s != "" && len(s) <= checks.MaxNameBytes && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

func validText(s string) bool {
	return len(s) <= checks.MaxItemBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// columnsOf reads the metrics of a state. A metric that this collector's declaration
// of the check lacks comes from a newer agent: it is kept, and no rule reads it.
func columnsOf(defs []*agentpb.MetricDefinition) ([]rules.Column, error) {
	out := make([]rules.Column, len(defs))
	for i, m := range defs {
		if !validName(m.Name) {
			return nil, fmt.Errorf("%q is no name of a metric", m.Name)
		}
		if len(m.Labels) > checks.MaxLabels {
			return nil, fmt.Errorf("metric %q has %d labels; at most %d are allowed", m.Name, len(m.Labels), checks.MaxLabels)
		}
		for _, l := range m.Labels {
			if !validName(l.Name) || !validText(l.Value) {
				return nil, fmt.Errorf("metric %q has a label that is no name or is over %d bytes", m.Name, checks.MaxItemBytes)
			}
		}
		out[i] = rules.Column{Name: m.Name, Labels: labelsOf(m.Labels)}
	}
	return out, nil
}

func labelsOf(ls []*checkpb.Label) []checks.Label {
	if len(ls) == 0 {
		return nil
	}
	out := make([]checks.Label, len(ls))
	for i, l := range ls {
		out[i] = checks.Label{Name: l.Name, Value: l.Value}
	}
	return out
}

// Submit takes a batch in. It returns when the batch is queued; the
// acknowledgement comes later. Runs that break a limit are refused one by one, and
// the rest of the batch goes on.
func (s *Session) Submit(ctx context.Context, b *agentpb.Batch) error {
	if int(b.Lane) > 1 {
		return fmt.Errorf("there is no lane %d", b.Lane)
	}
	results := 0
	for _, r := range b.Runs {
		if err := s.check(r, b.Lane); err != nil {
			s.refuse(b.Epoch, r.Sequence, err)
			// Its sequence number counts as dealt with, so that the agent frees it.
			r.Results, r.Complete, r.Task = nil, false, 0
		}
		results += len(r.Results)
	}
	if len(b.Runs) == 0 {
		return nil
	}
	return s.engine.inbox.put(ctx, item{session: s, batch: b, results: max(1, results)})
}

func (s *Session) refuse(epoch, sequence uint64, why error) {
	e := s.engine
	e.metrics.refused.Inc()
	e.mu.Lock()
	s.host.finding(time.Now(), "a run was refused: "+why.Error())
	e.mu.Unlock()
	s.out.send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{Refused: &agentpb.Refused{
		Code: agentpb.Refused_RUN_INVALID, Reason: why.Error(), Epoch: epoch, Sequence: sequence,
	}}})
}

// check holds a run to the stream's definitions and to the limits, and fills in the
// summaries that it left out.
func (s *Session) check(r *agentpb.PackedRun, lane agentpb.Lane) error {
	switch {
	case r.Task == 0 || int(r.Task) > len(s.tasks):
		return fmt.Errorf("task %d is not defined", r.Task)
	case len(r.Results) > checks.MaxResults:
		return fmt.Errorf("%d results in one run; at most %d are allowed", len(r.Results), checks.MaxResults)
	}
	t := s.tasks[r.Task-1]
	for _, res := range r.Results {
		if res.State == 0 || int(res.State) > len(s.states) || s.states[res.State-1].task != t {
			return fmt.Errorf("state %d is not defined for %s", res.State, t.check)
		}
		if err := s.states[res.State-1].check(res, lane); err != nil {
			return fmt.Errorf("%s %q: %w", t.check, s.states[res.State-1].state.item, err)
		}
	}
	return nil
}

var errNotANumber = errors.New("a value is not a number; a figure that could not be had is left out")

func (ss *sessionState) check(r *agentpb.PackedResult, lane agentpb.Lane) error {
	switch {
	case r.Status < 0 || r.Status > 3:
		return fmt.Errorf("no status has number %d", r.Status)
	case len(r.Values) != ss.width:
		return fmt.Errorf("%d values for %d metrics", len(r.Values), ss.width)
	case len(r.GetSummary()) > checks.MaxSummaryBytes:
		return fmt.Errorf("the summary has %d bytes; at most %d are allowed", len(r.GetSummary()), checks.MaxSummaryBytes)
	case len(r.Evidence) > checks.MaxEvidenceBytes:
		return fmt.Errorf("the evidence has %d bytes; at most %d are allowed", len(r.Evidence), checks.MaxEvidenceBytes)
	}
	for _, v := range r.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errNotANumber
		}
	}
	if r.Summary != nil {
		ss.summary[lane] = *r.Summary
	} else {
		r.Summary = &ss.summary[lane]
	}
	return nil
}
