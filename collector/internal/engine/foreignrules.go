package engine

import (
	"fmt"
	"time"

	"github.com/wacht-io/wacht/collector/internal/rules"
)

// foreignProgram returns what judges results of a foreign check, as long as the host's
// programs together keep to MaxForeignBytes.
func (h *host) foreignProgram(t *task, item string, columns []rules.Column) *rules.Program {
	p, err := t.foreign.book.Program(h.subject(t, item), columns)
	if err != nil {
		return nil
	}
	o := &h.foreign
	if _, counted := o.programs[p]; counted {
		return p
	}
	n := t.foreign.book.Bytes(t.check)
	if o.bytes+n > MaxForeignBytes {
		h.recount(time.Now())
	}
	if o.bytes+n > MaxForeignBytes {
		h.finding(time.Now(), fmt.Sprintf("results of check %s are kept, but not all judged: its items come with too many different sets of metrics", t.check))
		return nil
	}
	o.count(p, n)
	return p
}

func (o *hostForeign) count(p *rules.Program, bytes int) {
	if o.programs == nil {
		o.programs = make(map[*rules.Program]struct{})
	}
	if _, counted := o.programs[p]; !counted {
		o.programs[p] = struct{}{}
		o.bytes += bytes
	}
}

// recountEvery bounds how often a host's programs are counted anew: those of states
// that are gone count until then.
const recountEvery = time.Minute

func (h *host) recount(now time.Time) {
	if now.Sub(h.foreign.counted) >= recountEvery {
		h.foreign.counted = now
		h.count()
	}
}

// count counts the programs that the host's foreign states are judged by.
func (h *host) count() {
	o := &h.foreign
	o.programs, o.bytes = nil, 0
	of := func(t *task, sh *shape) {
		if t.foreign != nil && sh != nil && sh.program != nil {
			o.count(sh.program, t.foreign.book.Bytes(t.check))
		}
	}
	for _, t := range h.tasks {
		for _, st := range t.states {
			of(t, st.shape)
		}
	}
	if h.session != nil {
		for _, ss := range h.session.states {
			of(ss.task, ss.shape)
		}
	}
}
