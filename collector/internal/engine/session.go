package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
	// states are by number; Engine.mu guards the slice against a new policy.
	states []*sessionState
	// refusals counts what broke a limit; a stream of many is ended.
	refusals int
	// lost says that samples of this stream did not reach history, so that nothing
	// after them may be acknowledged as archived; only the archiver touches it.
	lost bool
	// policy is the revision that the agent was last given.
	policy uint64
	// wanted are the declarations that the agent was asked for, at askedAt, and has not
	// told; Engine.mu guards both.
	wanted  map[foreignKey]struct{}
	askedAt time.Time
	out     *outgoing
}

// sessionState is what a stream's number for a state stands for.
type sessionState struct {
	task  *task
	item  string
	shape *shape
	// state is the host's state of the item, once a live result was applied.
	state *state
	// unfit says why results of this number are refused: its definition was.
	unfit error
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
	e.catchUp(ctx, hostID, hello)
	err := e.do(ctx, func(g *group) error {
		h, ok := e.hosts[hostID]
		if !ok {
			return &RefusedError{agentpb.Refused_REVOKED, "this host is not known here; enrol it again with a new token"}
		}
		if refused := e.admit(h, hello, g.now); refused != nil {
			if refused.Code == agentpb.Refused_PENDING {
				h.mark.Seen = g.now
				return refused // the host's state says so itself
			}
			h.finding(g.now, refused.Reason)
			if refused.Code == agentpb.Refused_EPOCH_REUSED {
				h.reusedAt = g.now
			}
			return refused
		}
		s = &Session{engine: e, host: h, out: newOutgoing()}
		if h.session != nil {
			h.session.out.close()
		}
		h.session = s
		// An agent that dies while the commit is waited for leaves no session behind.
		context.AfterFunc(ctx, s.Close)
		e.meet(h, hello, g.now)
		welcome = &agentpb.Welcome{
			HostId: h.ID, Customer: h.Customer, Site: h.Site, Cursors: h.mark.cursors(),
			Visit: h.Visit, NowMs: g.now.UnixMilli(), MaxMessageBytes: MaxMessageBytes,
		}
		g.marked[h] = struct{}{}
		if err := s.hear(g, hello.Checks); err != nil {
			return err
		}
		s.sendPolicy(hello.PolicyRevision)
		return e.putHost(g, h)
	})
	if err != nil {
		return nil, nil, err
	}
	return s, welcome, nil
}

// Limits of what one stream may send. Beyond them it is ended.
const (
	MaxMessageBytes  = 4 << 20 // one message
	MaxBatchRuns     = 1000    // runs a batch
	maxRefusals      = 100     // runs refused
	maxFingerprints  = 64      // parts of a fingerprint
	maxFingerprint   = 64      // bytes of a part
	maxClockAhead    = 24 * time.Hour
	statesAtOnce     = 200 // states defined before others get their turn
	maxNextWithin    = 25 * time.Hour
	unsaidNextWithin = time.Hour
)

// catchUp waits for the archive when an agent comes back as another process: what the
// one before sent and is decided, but not archived, it would take for lost. What never
// was archived, because the collector was killed too, is waited for only so long.
func (e *Engine) catchUp(ctx context.Context, hostID string, hello *agentpb.Hello) {
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	// What is being committed is not with the archiver yet.
	for len(hello.Epochs) > 1 && e.unarchived(hostID) && ctx.Err() == nil {
		e.archive.settle(ctx)
	}
}

// catchUpWithin bounds how long a hello waits for the archive.
const catchUpWithin = time.Second

func (e *Engine) unarchived(hostID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.hosts[hostID]
	return h != nil && slices.ContainsFunc(h.mark.Epochs, func(m epochMark) bool {
		return slices.ContainsFunc(m.Lanes[:], func(l laneMark) bool { return l.Decided > l.Archived })
	})
}

// admit says why a host may not come in, or nil.
func (e *Engine) admit(h *host, hello *agentpb.Hello, now time.Time) *RefusedError {
	switch {
	case hello.Protocol != Protocol:
		return &RefusedError{agentpb.Refused_PROTOCOL_UNKNOWN,
			fmt.Sprintf("this collector speaks version %d of the protocol, the agent %d; upgrade the older of the two", Protocol, hello.Protocol)}
	case !h.RevokedAt.IsZero():
		return &RefusedError{agentpb.Refused_REVOKED, "this host was revoked; enrol it again with a new token"}
	case h.Pending:
		return &RefusedError{agentpb.Refused_PENDING, pendingReason(&h.Host)}
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
	if at := time.UnixMilli(m.BootTimeMs); m.BootTimeMs > 0 && at.Before(time.Now().Add(maxClockAhead)) {
		h.BootedAt = at
	}
	if fit(m.Fingerprint) {
		h.Fingerprint = m.Fingerprint
	}
}

func fit(fingerprint [][]byte) bool {
	return len(fingerprint) > 0 && len(fingerprint) <= maxFingerprints &&
		!slices.ContainsFunc(fingerprint, func(part []byte) bool { return len(part) > maxFingerprint })
}

// clip bounds a text that is only shown.
func clip(s string) string {
	if len(s) > checks.MaxItemBytes {
		return s[:checks.MaxItemBytes]
	}
	return s
}

// confirm notes that the agent has stored the visit of the Welcome: it sent
// something after it.
func (s *Session) confirm() {
	s.host.mark.Visit = s.host.Visit
}

// Define takes numbers for tasks and states. A number out of order ends the stream:
// it would spoil every later one. A state that is unfit keeps its number, and its
// results are refused.
func (s *Session) Define(d *agentpb.Definitions) error {
	if err := s.defineTasks(d.Tasks); err != nil {
		return s.spoilt(err)
	}
	for chunk := range slices.Chunk(d.States, statesAtOnce) {
		if err := s.defineStates(chunk); err != nil {
			return s.spoilt(err)
		}
	}
	return nil
}

// spoilt notes what ends the stream.
func (s *Session) spoilt(err error) error {
	s.note(err.Error())
	return err
}

func (s *Session) note(text string) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.host.finding(time.Now(), text)
}

func (s *Session) defineTasks(defs []*agentpb.TaskDefinition) error {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range defs {
		switch {
		case int(d.Number) != len(s.tasks)+1:
			return fmt.Errorf("task number %d does not follow %d", d.Number, len(s.tasks))
		case len(s.tasks) >= MaxTasks:
			return fmt.Errorf("more than %d tasks", MaxTasks)
		case !validName(d.Check) || !validText(d.Instance):
			return fmt.Errorf("task %d has no valid name", d.Number)
		}
		s.tasks = append(s.tasks, s.task(taskKey{d.Check, d.Instance}))
	}
	return nil
}

// task returns the host's task, or the one that this stream named before.
func (s *Session) task(key taskKey) *task {
	for _, t := range s.tasks {
		if t.taskKey == key {
			return t
		}
	}
	t := s.host.task(key)
	s.engine.know(t)
	if _, named := s.host.foreign.named[key.check]; t.spec == nil && !named {
		s.host.finding(time.Now(), fmt.Sprintf(
			"check %s is not known to this collector, and the agent's hello did not name it: its results are kept, but not judged; upgrade the collector", key.check))
	}
	return t
}

// defineStates takes some states: what can be verified alone first, and then what
// needs the engine.
func (s *Session) defineStates(defs []*agentpb.StateDefinition) error {
	made := make([]*sessionState, len(defs))
	columns := make([][]rules.Column, len(defs))
	for i, d := range defs {
		switch {
		case int(d.Number) != len(s.states)+i+1:
			return fmt.Errorf("state number %d does not follow %d", d.Number, len(s.states)+i)
		case d.Number > 2*MaxStates:
			return fmt.Errorf("more than %d states defined in one stream", 2*MaxStates)
		case d.Task == 0 || int(d.Task) > len(s.tasks):
			return fmt.Errorf("state %d belongs to task %d, which is not defined", d.Number, d.Task)
		}
		made[i] = &sessionState{task: s.tasks[d.Task-1], item: d.Item}
		columns[i], made[i].unfit = columnsOf(d)
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for i, ss := range made {
		if ss.unfit == nil {
			ss.shape, ss.unfit = s.engine.shapeFor(ss.task, ss.item, columns[i])
		}
		if ss.unfit != nil {
			s.host.finding(time.Now(), fmt.Sprintf("results of %s are refused: %v", ss.task.check, ss.unfit))
		}
	}
	s.states = append(s.states, made...)
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
func columnsOf(d *agentpb.StateDefinition) ([]rules.Column, error) {
	if !validText(d.Item) || len(d.Metrics) > checks.MaxMetrics {
		return nil, fmt.Errorf("an item has at most %d bytes and no control characters, a result at most %d metrics",
			checks.MaxItemBytes, checks.MaxMetrics)
	}
	out := make([]rules.Column, len(d.Metrics))
	for i, m := range d.Metrics {
		if !validName(m.Name) {
			return nil, fmt.Errorf("%q is no name of a metric", clip(m.Name))
		}
		if len(m.Labels) > checks.MaxLabels {
			return nil, fmt.Errorf("metric %q has %d labels; at most %d are allowed", m.Name, len(m.Labels), checks.MaxLabels)
		}
		for _, l := range m.Labels {
			if !validName(l.Name) || !validText(l.Value) {
				return nil, fmt.Errorf("metric %q has a label that is no name, has control characters or is over %d bytes", m.Name, checks.MaxItemBytes)
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
// the rest of the batch goes on; an error ends the stream.
func (s *Session) Submit(ctx context.Context, b *agentpb.Batch) error {
	switch {
	case b.Lane < 0 || int(b.Lane) > 1:
		return s.spoilt(fmt.Errorf("there is no lane %d", b.Lane))
	case len(b.Runs) > MaxBatchRuns:
		return s.spoilt(fmt.Errorf("%d runs in one batch; at most %d are allowed", len(b.Runs), MaxBatchRuns))
	case len(b.Runs) == 0:
		return nil
	}
	weight := 0
	for _, r := range b.Runs {
		if err := s.check(r, b.Lane); err != nil {
			s.refuse(b.Epoch, r.Sequence, err)
			// Its sequence number counts as dealt with, so that the agent frees it.
			r.Results, r.Complete, r.Task = nil, false, 0
		}
		weight += weightOf(r)
	}
	if s.refusals > maxRefusals {
		return s.spoilt(fmt.Errorf("more than %d runs were refused in one stream", maxRefusals))
	}
	return s.engine.inbox.put(ctx, item{session: s, batch: b, results: weight})
}

// weightOf is what a run counts for in the queue: its results, and its texts by the
// kilobyte.
func weightOf(r *agentpb.PackedRun) int {
	n := 1 + len(r.Results)
	for _, res := range r.Results {
		n += (len(res.Evidence) + len(res.GetSummary())) >> 10
	}
	return n
}

func (s *Session) refuse(epoch, sequence uint64, why error) {
	s.refusals++
	s.engine.metrics.refused.Inc()
	s.note("a run was refused: " + why.Error())
	s.out.send(&agentpb.CollectorMessage{Message: &agentpb.CollectorMessage_Refused{Refused: &agentpb.Refused{
		Code: agentpb.Refused_RUN_INVALID, Reason: why.Error(), Epoch: epoch, Sequence: sequence,
	}}})
}

// check holds a run to the stream's definitions and to the limits, and fills in the
// summaries that it left out. It looks at every result, also after one that is
// unfit: an agent does not repeat the summary of a run that was refused.
func (s *Session) check(r *agentpb.PackedRun, lane agentpb.Lane) error {
	switch {
	case r.Task == 0 || int(r.Task) > len(s.tasks):
		return fmt.Errorf("task %d is not defined", r.Task)
	case len(r.Results) > checks.MaxResults:
		return fmt.Errorf("%d results in one run; at most %d are allowed", len(r.Results), checks.MaxResults)
	}
	t := s.tasks[r.Task-1]
	var unfit error
	for _, res := range r.Results {
		if res.State == 0 || int(res.State) > len(s.states) || s.states[res.State-1].task != t {
			return fmt.Errorf("state %d is not defined for %s", res.State, t.check)
		}
		ss := s.states[res.State-1]
		ss.fill(res, lane)
		if err := ss.check(res); err != nil && unfit == nil {
			unfit = fmt.Errorf("%s %q: %w", t.check, clip(ss.item), err)
		}
	}
	return unfit
}

// fill gives a result the summary that it left out, or keeps the one that it has
// for those to come.
func (ss *sessionState) fill(r *agentpb.PackedResult, lane agentpb.Lane) {
	if r.Summary != nil {
		if len(*r.Summary) <= checks.MaxSummaryBytes {
			ss.summary[lane] = *r.Summary
		}
		return
	}
	text := ss.summary[lane]
	r.Summary = &text
}

var errNotANumber = errors.New("a value is not a number; a figure that could not be had is left out")

func (ss *sessionState) check(r *agentpb.PackedResult) error {
	switch {
	case ss.unfit != nil:
		return ss.unfit
	case r.Status < 0 || r.Status > 3:
		return fmt.Errorf("no status has number %d", r.Status)
	case len(r.Values) != len(ss.shape.columns):
		return fmt.Errorf("%d values for %d metrics", len(r.Values), len(ss.shape.columns))
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
	return nil
}
