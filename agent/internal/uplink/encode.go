package uplink

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks/checkpb"
)

// maxDefinitions bounds the numbers of one stream: items that come and go would
// fill the memory of both ends. Past it the stream is begun anew.
const maxDefinitions = 20000

// encoder numbers names and leaves out repeated summaries, for one stream.
type encoder struct {
	tasks   map[string]uint32
	states  map[stateKey]*state
	numbers uint32 // of states
	defs    *agentpb.Definitions
	scratch []byte
}

type stateKey struct {
	task uint32
	item string
}

// state is an item of a task. It gets another number whenever the list of its
// metrics changes.
type state struct {
	shapes []shape
	sent   [2]sent // by lane
}

type shape struct {
	metrics string
	number  uint32
}

type sent struct {
	number  uint32
	summary string
}

func newEncoder() *encoder {
	return &encoder{tasks: map[string]uint32{}, states: map[stateKey]*state{}, defs: &agentpb.Definitions{}}
}

func (e *encoder) full() bool { return e.numbers >= maxDefinitions }

// pack packs a run. What it refers to for the first time is added to the
// definitions, which have to be sent before it.
func (e *encoder) pack(lane agentpb.Lane, sequence uint64, run *checkpb.Run) *agentpb.PackedRun {
	task := e.task(run)
	out := &agentpb.PackedRun{
		Sequence: sequence, Task: task, PlannedMs: run.GetPlannedMs(), Complete: run.GetComplete(),
		NextWithinMs: uint32(min(max(run.GetNextWithinMs(), 0), 1<<32-1)),
		Results:      make([]*agentpb.PackedResult, len(run.GetResults())),
	}
	for i, r := range run.GetResults() {
		out.Results[i] = e.result(lane, task, r)
	}
	return out
}

func (e *encoder) task(run *checkpb.Run) uint32 {
	key := run.GetCheck() + "\x00" + run.GetInstance()
	number, known := e.tasks[key]
	if !known {
		number = uint32(len(e.tasks) + 1)
		e.tasks[key] = number
		e.defs.Tasks = append(e.defs.Tasks, &agentpb.TaskDefinition{Number: number, Check: run.GetCheck(), Instance: run.GetInstance()})
	}
	return number
}

func (e *encoder) result(lane agentpb.Lane, task uint32, r *checkpb.Result) *agentpb.PackedResult {
	key := stateKey{task, r.GetItem()}
	st := e.states[key]
	if st == nil {
		st = &state{}
		e.states[key] = st
	}
	number := e.number(st, key, r.GetMetrics())
	out := &agentpb.PackedResult{State: number, Status: r.GetStatus(), Evidence: r.GetEvidence()}
	if now := (sent{number, r.GetSummary()}); st.sent[lane] != now {
		st.sent[lane] = now
		out.Summary = new(now.summary)
	}
	if n := len(r.GetMetrics()); n > 0 {
		out.Values = make([]float64, n)
	}
	for i, m := range r.GetMetrics() {
		out.Values[i] = m.GetValue()
	}
	return out
}

// number finds the state's number for these metrics, or gives it one.
func (e *encoder) number(st *state, key stateKey, metrics []*checkpb.Metric) uint32 {
	e.scratch = e.scratch[:0]
	for _, m := range metrics {
		e.scratch = append(append(e.scratch, m.GetName()...), 0, byte(m.GetType()))
		for _, l := range m.GetLabels() {
			e.scratch = append(append(append(e.scratch, l.GetName()...), 0), l.GetValue()...)
			e.scratch = append(e.scratch, 1)
		}
		e.scratch = append(e.scratch, 2)
	}
	for i := range st.shapes {
		if st.shapes[i].metrics == string(e.scratch) {
			return st.shapes[i].number
		}
	}
	e.numbers++
	st.shapes = append(st.shapes, shape{string(e.scratch), e.numbers})
	def := &agentpb.StateDefinition{Number: e.numbers, Task: key.task, Item: key.item}
	for _, m := range metrics {
		def.Metrics = append(def.Metrics, &agentpb.MetricDefinition{Name: m.GetName(), Type: m.GetType(), Labels: m.GetLabels()})
	}
	e.defs.States = append(e.defs.States, def)
	return e.numbers
}

// forget has the summaries of a run that was not sent after all sent again.
func (e *encoder) forget(lane agentpb.Lane, run *checkpb.Run) {
	task := e.task(run)
	for _, r := range run.GetResults() {
		if st := e.states[stateKey{task, r.GetItem()}]; st != nil {
			st.sent[lane] = sent{}
		}
	}
}

// batches turns runs of one epoch into messages of at most limit bytes, each after
// the definitions that it needs. A run that does not fit in a message by itself is
// given to tooLarge.
func (e *encoder) batches(lane agentpb.Lane, epoch uint64, runs []entry, limit int, tooLarge func(entry, error)) []*agentpb.AgentMessage {
	var out []*agentpb.AgentMessage
	batch, size := &agentpb.Batch{Lane: lane, Epoch: epoch}, 0
	flush := func() {
		if len(batch.Runs) > 0 {
			out = append(out, &agentpb.AgentMessage{Message: &agentpb.AgentMessage_Batch{Batch: batch}})
		}
		batch, size = &agentpb.Batch{Lane: lane, Epoch: epoch}, 0
	}
	for _, run := range runs {
		packed := e.pack(lane, run.Sequence, run.Run)
		// The definitions' and the batch's own frames take less than this.
		n := proto.Size(packed) + 16
		if n > limit-batchFrame {
			e.forget(lane, run.Run)
			tooLarge(run, fmt.Errorf("a run of %d bytes does not fit in a message of %d", n, limit))
			continue
		}
		if size+n > limit-batchFrame {
			flush()
		}
		out = append(out, e.definitions(limit)...)
		batch.Runs = append(batch.Runs, packed)
		size += n
	}
	flush()
	return append(out, e.definitions(limit)...)
}

// batchFrame is more than what surrounds the runs in a message.
const batchFrame = 64

// definitions returns what has to be sent before the next batch, in messages of at
// most about limit bytes.
func (e *encoder) definitions(limit int) []*agentpb.AgentMessage {
	if len(e.defs.Tasks) == 0 && len(e.defs.States) == 0 {
		return nil
	}
	defs := e.defs
	e.defs = &agentpb.Definitions{}
	var out []*agentpb.AgentMessage
	part, size := &agentpb.Definitions{Tasks: defs.Tasks}, proto.Size(&agentpb.Definitions{Tasks: defs.Tasks})
	for _, st := range defs.States {
		n := proto.Size(st) + 16
		if size > 0 && size+n > limit-batchFrame {
			out = append(out, &agentpb.AgentMessage{Message: &agentpb.AgentMessage_Definitions{Definitions: part}})
			part, size = &agentpb.Definitions{}, 0
		}
		part.States = append(part.States, st)
		size += n
	}
	return append(out, &agentpb.AgentMessage{Message: &agentpb.AgentMessage_Definitions{Definitions: part}})
}
