package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/wacht-io/wacht/checks"
)

// maxAnswer bounds one answer of an engine, in bytes: a list of ten thousand containers
// has some ten megabytes.
const maxAnswer = 32 << 20

// engine asks one engine. The client finds out which version of the API both speak.
type engine struct {
	client    *client.Client
	transport *http.Transport
	first     chan net.Conn
}

// open connects. It does so itself, as the client's errors do not tell why it could not.
func open(ctx context.Context, socket string) (*engine, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	e := &engine{first: make(chan net.Conn, 1)}
	e.first <- conn
	e.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case conn := <-e.first:
				return conn, nil
			default:
				return d.DialContext(ctx, "unix", socket)
			}
		},
		DisableCompression: true,
		MaxIdleConns:       1,
	}
	e.client, err = client.New(client.WithHost("unix://"+socket), client.WithHTTPClient(&http.Client{Transport: bounded{e.transport}}))
	if err != nil {
		e.close()
		return nil, fmt.Errorf("making a client of the engine: %w", err)
	}
	return e, nil
}

func (e *engine) close() {
	e.transport.CloseIdleConnections()
	select {
	case conn := <-e.first: // nothing was asked
		_ = conn.Close()
	default:
	}
}

// bounded lets no answer be longer than maxAnswer.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = &body{resp.Body, maxAnswer}
	}
	return resp, err
}

var errLong = fmt.Errorf("an answer has more than %d MiB", maxAnswer>>20)

type body struct {
	io.ReadCloser
	left int64
}

// Read fails once the answer is too long.
func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// listing is what an engine tells of its containers.
type listing struct {
	total     int // those that are not looked at too
	inspected []state
	failed    []failure
	images    map[string]time.Time // when each was made, by its id
}

// failure is a container that the engine lists and does not tell of.
type failure struct {
	name string
	err  error
}

// containers tells of all that the filter takes, in the order of their names. One that
// is removed meanwhile is not there any more.
func (e *engine) containers(ctx context.Context, pick *filter) (*listing, error) {
	found, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, err
	}
	images, err := e.images(ctx)
	if err != nil {
		return nil, err
	}
	all := &listing{total: len(found.Items), images: images}
	for _, one := range byName(found.Items) {
		if !pick.takes(one.name) {
			continue
		}
		answer, err := e.client.ContainerInspect(ctx, one.id, client.ContainerInspectOptions{})
		switch {
		case err == nil:
			s := stateOf(one, &answer.Container)
			s.expected = s.expected || pick.named(one.name)
			all.inspected = append(all.inspected, s)
		case cerrdefs.IsNotFound(err):
		case ctx.Err() != nil:
			return nil, err
		default:
			all.failed = append(all.failed, failure{one.name, err})
		}
	}
	return all, nil
}

func (e *engine) images(ctx context.Context) (map[string]time.Time, error) {
	found, err := e.client.ImageList(ctx, client.ImageListOptions{All: true})
	if err != nil {
		return nil, err
	}
	out := make(map[string]time.Time, len(found.Items))
	for i := range found.Items {
		out[found.Items[i].ID] = time.Unix(found.Items[i].Created, 0)
	}
	return out, nil
}

// listed is a container in the list of all.
type listed struct{ id, name string }

// byName sorts containers by name, each name once.
func byName(items []container.Summary) []listed {
	var out []listed
	for i := range items {
		out = append(out, listed{items[i].ID, nameOf(&items[i])})
	}
	slices.SortFunc(out, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(out, func(a, b listed) bool { return a.name == b.name })
}

// nameOf is the name that the container itself has. The others, with a slash in them,
// are links of other containers to it.
func nameOf(c *container.Summary) string {
	for _, name := range c.Names {
		if name = strings.TrimPrefix(name, "/"); name != "" && !strings.Contains(name, "/") {
			return cut(name, checks.MaxItemBytes)
		}
	}
	return cut(c.ID, 12) // as docker ps shows it
}

// cause reduces an error of the client to what a person needs.
func cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "timed out"
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		return sys.Err.Error()
	}
	return err.Error()
}
