package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/wacht-io/wacht/checks/sandbox"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// session is one process of a plugin, and the connection to it.
type session struct {
	client  pluginpb.CheckClient
	conn    *grpc.ClientConn
	service *sandbox.Service
	output  *output
	folder  string
	began   time.Time
	started chan struct{} // closed when service is set, or will never be
	done    chan struct{} // closed when everything of it is gone

	mu    sync.Mutex
	cause error // why it was ended, if it was

	users int         // guarded by the plugin's mu
	idle  *time.Timer // likewise
}

// dial starts the plugin's program and connects to it. The program lives until ctx
// ends or it is ended; start bounds how long it may take to be ready.
func dial(ctx, start context.Context, p *Plugin, opts *Options) (*session, error) {
	who, err := runsAs(p)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity()
	if err != nil {
		return nil, err
	}
	s := &session{began: time.Now(), started: make(chan struct{}), done: make(chan struct{})}
	s.output = newOutput(s.endLater)
	if s.folder, err = makeFolder(who); err != nil {
		return nil, err
	}
	s.service, err = sandbox.StartService(ctx, p.Path, sandbox.ServiceOptions{
		SHA256: p.SHA256, Env: environment(s.folder, id), Dir: s.folder, User: who, Hidden: opts.Hidden, Trusted: p.Companion != nil,
		MaxMemory: p.MaxMemory, MaxProcesses: p.MaxProcesses, MaxCPU: p.MaxCPU, Group: opts.Group,
		Stdout: writer(s.output.stdout), Stderr: writer(s.output.stderr),
	})
	close(s.started)
	if err != nil && p.Companion != nil {
		err = fmt.Errorf("%w (it comes with the agent: restart the agent when both were updated)", err)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.folder))
	}
	err = s.connect(start, id)
	go s.cleanUp()
	if err != nil {
		s.end(err)
		return nil, s.reason()
	}
	if s.client == nil {
		<-s.done
		return nil, s.reason()
	}
	go s.drain(ctx)
	return s, nil
}

// environment is what plugin.proto says.
func environment(folder string, id *identity) []string {
	return []string{
		pluginpb.CookieKey + "=" + pluginpb.CookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=" + strconv.Itoa(pluginpb.Version),
		"PLUGIN_UNIX_SOCKET_DIR=" + folder,
		"PLUGIN_CLIENT_CERT=" + id.pem,
		"TMPDIR=" + folder,
	}
}

// makeFolder makes the plugin's own folder, where its user can get at it: TMPDIR may be
// this process's alone.
func makeFolder(who *sandbox.User) (string, error) {
	where := os.TempDir()
	if who != nil {
		where = "/tmp"
	}
	folder, err := os.MkdirTemp(where, "wacht-plugin-")
	if err == nil && who != nil {
		err = os.Chown(folder, int(who.UID), int(who.GID))
	}
	if err != nil {
		return "", fmt.Errorf("making its folder: %w", err)
	}
	return folder, nil
}

// firstUser is the first of the users that an agent of root's runs plugins as: each
// has one that owns nothing, in a range that no distribution gives out
// (https://systemd.io/UIDS-GIDS).
const firstUser = 60800

// runsAs finds out whom the plugin runs as; nil is the agent's own user.
func runsAs(p *Plugin) (*sandbox.User, error) {
	switch {
	case p.User == "" && os.Geteuid() != 0:
		return nil, nil //nolint:nilnil // nobody else
	case p.User == "":
		n := uint32(firstUser + p.number)
		return &sandbox.User{UID: n, GID: n}, nil
	case os.Geteuid() != 0:
		return nil, fmt.Errorf("it is to run as %s, which only an agent that is root can do", p.User)
	}
	u, err := user.Lookup(p.User)
	if err != nil {
		return nil, fmt.Errorf("it is to run as %s: %w", p.User, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("finding the groups of %s: %w", p.User, err)
	}
	out := &sandbox.User{}
	numbers := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", p.User, err)
		}
		numbers = append(numbers, uint32(n))
	}
	out.UID, out.GID, out.Groups = numbers[0], numbers[1], numbers[2:]
	return out, nil
}

// connect waits for the handshake and makes the connection.
func (s *session) connect(ctx context.Context, id *identity) error {
	var line string
	select {
	case line = <-s.output.line:
	case <-s.service.Done():
		return nil // reason tells how it ended
	case <-ctx.Done():
		return fmt.Errorf("it is not ready: it has written no handshake within %s", startTimeout)
	}
	h, err := parseHandshake(line, s.folder)
	if err != nil {
		return err
	}
	s.conn, err = grpc.NewClient("passthrough:///plugin",
		grpc.WithTransportCredentials(credentials.NewTLS(id.tls(h))),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.socket)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(pluginpb.MaxMessageBytes)),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0), grpc.WithNoProxy(),
	)
	if err != nil {
		return fmt.Errorf("connecting to it: %w", err)
	}
	s.client = pluginpb.NewCheckClient(s.conn)
	return nil
}

// drain reads what a program that uses go-plugin writes to its output, which that
// sends over the connection, where it would wait for ever for somebody to read it.
func (s *session) drain(ctx context.Context) {
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil {
		return
	}
	if stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	for {
		var data emptypb.Empty // its fields are unknown here, and dropped
		if stream.RecvMsg(&data) != nil || s.output.take(proto.Size(&data)) != nil {
			return
		}
	}
}

// ended says whether the process has ended.
func (s *session) ended() bool {
	select {
	case <-s.service.Done():
		return true
	default:
		return false
	}
}

// end ends the process. The first cause given is what reason tells; nil stands for an
// end that is as it should be.
func (s *session) end(cause error) {
	s.blame(cause)
	s.service.Kill()
	<-s.done
}

// endLater is end for those whom the process waits for.
func (s *session) endLater(cause error) {
	s.blame(cause)
	go func() {
		if <-s.started; s.service != nil {
			s.service.Kill()
		}
	}()
}

// lost is what is done when the connection is lost. A process that is about to end says
// more by how it ends.
func (s *session) lost(cause error) {
	const moment = time.Second
	select {
	case <-s.service.Done():
	case <-time.After(moment):
		s.end(cause)
	}
	<-s.done
}

func (s *session) blame(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
	}
}

// blamed says whether the process is being ended for something.
func (s *session) blamed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause != nil
}

// reason says why the process ended.
func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	how := "with exit code 0"
	if err := s.service.Err(); err != nil {
		how = err.Error()
	}
	if last := s.output.last(); last != "" {
		how += ": " + last
	}
	return errors.New("it ended by itself: " + how)
}

// cleanUp waits for the end of the process, and leaves nothing of it.
func (s *session) cleanUp() {
	defer close(s.done)
	<-s.service.Done()
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = os.RemoveAll(s.folder)
}
