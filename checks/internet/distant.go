package internet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wacht-io/wacht/checks/internal/outward"
)

// The most time that a step over the internet takes.
const (
	dnsTime    = 5 * time.Second
	tcpTime    = 4 * time.Second
	httpsTime  = 6 * time.Second
	portalTime = 4 * time.Second
)

// maxPage bounds how much of a page is read, in bytes.
const maxPage = 64 << 10

// attempt is the way to one provider.
type attempt struct {
	page   page
	steps  outward.Steps
	failed string // the step, or ""
	took   time.Duration
}

// distant asks all providers at the same time. The layers work as far as one gets.
func (t *test) distant(ctx context.Context) {
	attempts := make([]attempt, len(t.cfg.providers))
	var wg sync.WaitGroup
	for i := range attempts {
		attempts[i].page = t.cfg.providers[i]
		wg.Go(func() { attempts[i].do(ctx, t.cfg) })
	}
	wg.Wait()
	t.asked = true
	best := slices.MinFunc(attempts, func(a, b attempt) int { // the one that got furthest, then the fastest
		if d := b.reached() - a.reached(); d != 0 {
			return d
		}
		return int(a.took - b.took)
	})
	t.note(attempts)
	for _, step := range []string{"dns", "tcp", "https"} {
		for _, m := range best.steps.Metrics() {
			if m.Name == step+"_seconds" {
				t.steps.Took(step, time.Duration(m.Value*float64(time.Second)))
			}
		}
	}
	if best.failed == "" {
		return
	}
	if err := t.captive(ctx, best.failed); err != nil {
		t.portal = true
		t.fail("portal", err)
		return
	}
	t.fail(best.failed, best.steps.Err())
}

// note counts the providers that answered, and tells of the others.
func (t *test) note(attempts []attempt) {
	var lines []string
	for i := range attempts {
		if a := &attempts[i]; a.failed == "" {
			t.answering++
		} else {
			lines = append(lines, a.page.url.Host+": "+a.steps.Summary())
		}
	}
	t.detail = strings.Join(lines, "\n")
}

func (a *attempt) reached() int {
	if a.failed == "" {
		return len(layers)
	}
	return slices.Index(layers, a.failed)
}

func (a *attempt) do(ctx context.Context, cfg *config) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	var addrs []netip.Addr
	var conn net.Conn
	within := func(name string, most time.Duration, take func(context.Context) error) bool {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		ok := a.steps.Do(name, func() error { return take(ctx) })
		if !ok {
			a.failed = name
		}
		return ok
	}
	port := uint16(443)
	if a.page.url.Port() != "" {
		var err error
		if _, port, err = outward.SplitHostPort(a.page.url.Host); err != nil {
			a.failed = "tcp"
			a.steps.Fail(a.failed, err)
			return
		}
	}
	_ = within("dns", dnsTime, func(ctx context.Context) (err error) {
		addrs, err = outward.Resolve(ctx, a.page.url.Hostname())
		return err
	}) && within("tcp", tcpTime, func(ctx context.Context) (err error) {
		conn, err = outward.Connect(ctx, addrs, port)
		return err
	}) && within("https", httpsTime, func(ctx context.Context) error {
		return fetch(ctx, a.page, conn, cfg)
	})
	if conn != nil {
		_ = conn.Close() // it was only read
	}
}

// fetch gets a page over a connection and demands that it is the one expected.
func fetch(ctx context.Context, p page, conn net.Conn, cfg *config) error {
	status, body, err := get(ctx, p.url, &nethttp.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		TLSClientConfig: &tls.Config{RootCAs: cfg.roots}, DisableKeepAlives: true, MaxResponseHeaderBytes: maxPage,
	})
	switch {
	case err != nil:
		return err
	case status != nethttp.StatusOK:
		return fmt.Errorf("%s answers with status %d", p.url.Host, status)
	case !strings.Contains(body, p.holds):
		return fmt.Errorf("the page of %s does not hold %q", p.url.Host, p.holds)
	}
	return nil
}

// get follows no redirect: a portal is known by it. A redirect's target stands for the
// body.
func get(ctx context.Context, u *url.URL, transport *nethttp.Transport) (status int, body string, err error) {
	defer transport.CloseIdleConnections()
	client := nethttp.Client{Transport: transport, CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error {
		return nethttp.ErrUseLastResponse
	}}
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodGet, u.String(), nethttp.NoBody)
	if err != nil {
		return 0, "", fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("User-Agent", "wacht-agent")
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", plain(err)
	}
	defer resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		return resp.StatusCode, to, nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return 0, "", plain(err)
	}
	return resp.StatusCode, string(data), nil
}

func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return outward.Plain(err)
}

// captive looks for a portal when the way is broken beyond the resolver. The error
// describes it.
func (t *test) captive(ctx context.Context, failed string) error {
	if failed == "dns" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, portalTime)
	defer cancel()
	p := t.cfg.portal
	status, body, err := get(ctx, p.url, &nethttp.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxPage})
	switch {
	case err != nil || status == nethttp.StatusOK && strings.Contains(body, p.holds) || status/100 == 5:
		return nil
	case status/100 == 3:
		return fmt.Errorf("a captive portal answers in the place of %s: it leads to %.200s", p.url.Host, body)
	}
	return fmt.Errorf("a captive portal answers in the place of %s, with status %d", p.url.Host, status)
}
