package disk

import (
	"context"
	"time"
)

// question is one call to a filesystem, which may never return: a network
// filesystem whose server is away holds its caller in the kernel, where nothing
// can end it.
type question struct {
	since  time.Time
	done   chan struct{} // closed when the answer is there
	answer answer
}

// questions are those without an answer, by mount. They pass from run to run, so
// that at most one a mount is ever open.
type questions map[string]*question

// patience is how long a run waits when its context has no deadline.
const patience = 10 * time.Second

// askAll asks all filesystems at once. It comes back in half of the time there is,
// so that what the others said is still delivered.
func (c check) askAll(ctx context.Context, all []mount, open questions) (questions, []answer) {
	asked := make([]*question, len(all))
	for i, m := range all {
		if asked[i] = open[key(m)]; asked[i] == nil {
			asked[i] = c.start(m)
		}
	}
	wait := patience
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline) / 2
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	still := stillOpen(open)
	answers := make([]answer, len(all))
	for i, q := range asked {
		// One that has not answered since an earlier run gets no second wait.
		if still[key(all[i])] != q {
			q.await(ctx)
		}
		answers[i] = q.read()
		if answers[i].late {
			still[key(all[i])] = q
		} else {
			delete(still, key(all[i]))
		}
	}
	return still, answers
}

func key(m mount) string { return m.id + " " + m.point }

func (c check) start(m mount) *question {
	q := &question{since: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.answer.usage, q.answer.err = c.ask(m)
	}()
	return q
}

func (q *question) await(ctx context.Context) {
	select {
	case <-q.done:
	case <-ctx.Done():
	}
}

// read returns the answer, if there is one by now.
func (q *question) read() answer {
	select {
	case <-q.done:
		return q.answer
	default:
		return answer{late: true, waited: time.Since(q.since)}
	}
}

// stillOpen keeps the questions without an answer, also of mounts that are gone
// from the list: a mount that comes back there is not asked twice.
func stillOpen(open questions) questions {
	still := make(questions)
	for k, q := range open {
		if q.read().late {
			still[k] = q
		}
	}
	return still
}
