// Package tcp checks that a TCP port accepts connections and, if asked, that what
// listens there gives the expected answer.
package tcp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/outward"
)

// maxAnswer bounds how much of the answer is read and matched, in bytes.
const maxAnswer = 4096

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("tcp")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds nothing: only a person knows which ports matter.
func (*check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

// config is what a run was asked to do.
type config struct {
	host   string
	port   uint16
	send   string
	expect *regexp.Regexp
}

func readConfig(p checks.Params) (config, error) {
	host, port, err := outward.SplitHostPort(p.String("address"))
	if err != nil {
		return config{}, fmt.Errorf("parameter address: %w", err)
	}
	cfg := config{host: host, port: port, send: unescape(p.String("send"))}
	if text := p.String("expect"); text != "" {
		if cfg.expect, err = regexp.Compile(text); err != nil {
			return config{}, fmt.Errorf("parameter expect: %w", err)
		}
	}
	return cfg, nil
}

func unescape(text string) string {
	return strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n", `\t`, "\t").Replace(text)
}

// Run connects once.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	ctx, cancel := outward.Deadline(ctx)
	defer cancel()
	var steps outward.Steps
	answer := cfg.test(ctx, &steps)
	result := checks.Result{Metrics: steps.Metrics()}
	if steps.Err() != nil {
		result.Status, result.Summary, result.Evidence = checks.Critical, steps.Summary(), evidence(answer)
	} else {
		total := steps.Total()
		result.Summary = fmt.Sprintf("%s answered in %s", env.Params.String("address"), outward.Seconds(total))
		result.Metrics = append(result.Metrics, checks.Metric{Name: "duration_seconds", Value: total.Seconds()})
	}
	return checks.Run{Results: []checks.Result{result}, Complete: true}, nil
}

// test takes the steps and returns what was read.
func (cfg *config) test(ctx context.Context, steps *outward.Steps) []byte {
	var (
		addrs  []netip.Addr
		conn   net.Conn
		answer []byte
	)
	resolve := func() (err error) { addrs, err = outward.Resolve(ctx, cfg.host); return err }
	connect := func() (err error) { conn, err = outward.Connect(ctx, addrs, cfg.port); return err }
	if addr, err := netip.ParseAddr(cfg.host); err == nil {
		addrs = []netip.Addr{addr}
	} else if !steps.Do("dns", resolve) {
		return nil
	}
	if !steps.Do("connect", connect) {
		return nil
	}
	defer conn.Close()
	if cfg.send == "" && cfg.expect == nil {
		return nil
	}
	steps.Do("banner", func() (err error) { answer, err = cfg.talk(ctx, conn); return err })
	return answer
}

// talk sends what is to be sent and reads until the answer matches.
func (cfg *config) talk(ctx context.Context, conn net.Conn) ([]byte, error) {
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, fmt.Errorf("setting a deadline: %w", err)
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, cfg.send); err != nil {
		return nil, fmt.Errorf("sending: %w", outward.Plain(err))
	}
	if cfg.expect == nil {
		return nil, nil
	}
	return cfg.await(ctx, conn)
}

func (cfg *config) await(ctx context.Context, conn net.Conn) ([]byte, error) {
	buf := make([]byte, 0, maxAnswer)
	for len(buf) < maxAnswer {
		n, err := conn.Read(buf[len(buf):maxAnswer])
		buf = buf[:len(buf)+n]
		if cfg.expect.Match(buf) {
			return buf, nil
		}
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return buf, fmt.Errorf("%q did not come in %d bytes: %w", cfg.expect, len(buf), outward.Plain(err))
		}
	}
	return buf, fmt.Errorf("%q did not come in the first %d bytes", cfg.expect, maxAnswer)
}

// evidence shows the beginning of a wrong answer.
func evidence(answer []byte) string {
	if len(answer) == 0 {
		return ""
	}
	return fmt.Sprintf("answer: %.200q", answer)
}
