package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// A query by UDP is sent again when its answer does not come: a packet that gets lost
// is no outage.
const (
	tries    = 3
	patience = 2 * time.Second
)

// udpSize is how many bytes of an answer we take by UDP: what fits every network
// (https://www.dnsflagday.net/2020/).
const udpSize = 1232

// lookup is one question to one resolver.
type lookup struct {
	cfg     *config
	at      resolver
	steps   outward.Steps
	queries int

	answer *mdns.Msg
	values []string // of the records that were asked for
	ttl    uint32   // the shortest, in seconds
}

// do takes all steps until one fails.
func (l *lookup) do(ctx context.Context) {
	if !l.steps.Do("query", func() error { return l.byUDP(ctx) }) {
		return
	}
	if l.answer.Truncated && !l.steps.Do("tcp", func() error { return l.byTCP(ctx) }) {
		return
	}
	l.collect()
	for _, step := range []struct {
		name string
		take func() error
	}{{"answer", l.judgeAnswer}, {"match", l.judgeMatch}, {"authority", l.judgeAuthority}} {
		if err := step.take(); err != nil {
			l.steps.Fail(step.name, err)
			return
		}
	}
}

// byUDP asks until there is an answer.
func (l *lookup) byUDP(ctx context.Context) error {
	for {
		l.queries++
		answer, err := l.once(ctx)
		switch {
		case err == nil:
			l.answer = answer
			return nil
		case !outward.IsTimeout(err):
			return fmt.Errorf("%s: %w", l.at.item, outward.Plain(err))
		case l.queries == tries || ctx.Err() != nil:
			return fmt.Errorf("%s does not answer: %d queries were sent", l.at.item, l.queries)
		}
	}
}

func (l *lookup) once(ctx context.Context) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return l.exchange(ctx, "udp")
}

// byTCP asks for what UDP has no room for.
func (l *lookup) byTCP(ctx context.Context) error {
	answer, err := l.exchange(ctx, "tcp")
	if err != nil {
		return fmt.Errorf("the answer is too long for UDP, and by TCP %s: %w", l.at.item, outward.Plain(err))
	}
	l.answer = answer
	return nil
}

// exchange asks once. It ends with ctx.
func (l *lookup) exchange(ctx context.Context, network string) (*mdns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, l.at.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	question := new(mdns.Msg).SetQuestion(l.cfg.name, l.cfg.kind).SetEdns0(udpSize, false)
	c := mdns.Conn{Conn: conn, UDPSize: udpSize}
	if err := c.WriteMsg(question); err != nil {
		return nil, err
	}
	for {
		answer, err := c.ReadMsg()
		if err != nil && outward.IsTimeout(err) {
			return nil, err
		}
		if err != nil && answer == nil {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("its answer can't be read: %w", err)
		}
		if answers(answer, question) {
			return answer, nil
		}
		if network == "tcp" {
			return nil, errors.New("it answers another question")
		}
	}
}

// answers says whether a message answers the question. A resolver that could not read
// the question need not repeat it.
func answers(m, question *mdns.Msg) bool {
	if m.Id != question.Id || !m.Response {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != mdns.RcodeSuccess
	}
	got, want := m.Question[0], question.Question[0]
	return len(m.Question) == 1 && strings.EqualFold(got.Name, want.Name) && got.Qtype == want.Qtype && got.Qclass == want.Qclass
}

// collect takes the records of the type that was asked for.
func (l *lookup) collect() {
	for _, rr := range l.answer.Answer {
		h := rr.Header()
		if h.Rrtype != l.cfg.kind {
			continue
		}
		if len(l.values) == 0 || h.Ttl < l.ttl {
			l.ttl = h.Ttl
		}
		l.values = append(l.values, canonical(strings.TrimPrefix(rr.String(), h.String())))
	}
}

func (l *lookup) judgeAnswer() error {
	kind := mdns.TypeToString[l.cfg.kind]
	switch {
	case l.answer.Truncated:
		return fmt.Errorf("%s cuts its answer short over TCP too", l.at.item)
	case l.answer.Rcode == mdns.RcodeNameError:
		return fmt.Errorf("%s says that there is no %s (NXDOMAIN)", l.at.item, l.cfg.name)
	case l.answer.Rcode != mdns.RcodeSuccess:
		return fmt.Errorf("%s answers %s for %s", l.at.item, code(l.answer.Rcode), l.cfg.name)
	case len(l.values) == 0:
		return fmt.Errorf("%s says that %s has no %s record", l.at.item, l.cfg.name, kind)
	}
	return nil
}

func code(n int) string {
	if name, ok := mdns.RcodeToString[n]; ok {
		return name
	}
	return fmt.Sprintf("code %d", n)
}

func (l *lookup) judgeMatch() error {
	if l.cfg.answers == nil {
		return nil
	}
	for _, v := range l.values {
		if !l.cfg.answers[v] {
			return fmt.Errorf("%s says that %s is %s, which is not expected", l.at.item, l.cfg.name, text.Cut(v, 80))
		}
	}
	return nil
}

func (l *lookup) judgeAuthority() error {
	if l.cfg.authority && !l.answer.Authoritative {
		return fmt.Errorf("%s is no authority for %s: its answer is from hearsay", l.at.item, l.cfg.name)
	}
	return nil
}
