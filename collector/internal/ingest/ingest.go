// Package ingest is the collector's side of the agents' contract: it lets machines
// join, renews their certificates, and takes their streams in. Who a stream belongs
// to follows from its certificate alone.
package ingest

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/joining"
	"github.com/wacht-io/wacht/collector/internal/pki"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// Server answers agents.
type Server struct {
	agentpb.UnimplementedCollectorServer

	engine    *engine.Engine
	authority *pki.Authority
	store     store.Reader
	log       *slog.Logger
}

// maxIdle is how long a connection may be open without a stream.
const maxIdle = 5 * time.Minute

// New makes a gRPC server for the agents' port.
func New(e *engine.Engine, a *pki.Authority, r store.Reader, log *slog.Logger) *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(newDoors(credentials.NewTLS(a.TLS(time.Now)))),
		grpc.MaxRecvMsgSize(engine.MaxMessageBytes),
		grpc.MaxConcurrentStreams(8),
		// Thousands of streams that are idle most of the time: small buffers halve
		// what each costs.
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		// Fixed windows: the estimator of the bandwidth would answer each message with a
		// ping, and small messages are most of what comes.
		grpc.InitialWindowSize(64<<10), grpc.InitialConnWindowSize(64<<10),
		grpc.ConnectionTimeout(20*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: maxIdle, Time: time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	agentpb.RegisterCollectorServer(s, &Server{engine: e, authority: a, store: r, log: log})
	return s
}

// Join turns a token, or the certificate of the host that a copy was made from,
// into an identity. What costs work comes after what tells whether it is owed.
func (s *Server) Join(ctx context.Context, req *agentpb.JoinRequest) (*agentpb.JoinResponse, error) {
	now := time.Now()
	n := engine.Newcomer{ID: ulid.Make().String(), CertUntil: now.Add(pki.HostLife), Machine: req.Machine}
	err := s.invited(ctx, req.Token, &n)
	if err != nil {
		return nil, err
	}
	csr, err := pki.ParseRequest(req.Csr)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	n.KeySHA256 = csr.KeySHA256()
	host, err := s.engine.Join(ctx, n)
	if err != nil {
		return nil, s.refusal("joining", err)
	}
	chain, _, err := s.authority.SignHost(csr, host.ID, now)
	if err != nil {
		return nil, s.internal("signing a certificate", err)
	}
	s.log.Info("a host joined", "host", host.Name, "id", host.ID, "customer", host.Customer, "site", host.Site, "copy_of", host.CloneOf, "pending", host.Pending)
	return &agentpb.JoinResponse{HostId: host.ID, Chain: chain}, nil
}

// invited says who a newcomer belongs to, or why it may not join.
func (s *Server) invited(ctx context.Context, token string, n *engine.Newcomer) error {
	if token == "" {
		return s.copyOf(ctx, n)
	}
	return s.withToken(ctx, token, n)
}

// withToken binds a newcomer to its token's customer and site.
func (s *Server) withToken(ctx context.Context, text string, n *engine.Newcomer) error {
	t, err := joining.Find(ctx, s.store, text, s.authority.Pin(), time.Now())
	if err != nil {
		return s.refusal("joining", err)
	}
	n.Customer, n.Site, n.Labels, n.TokenID, n.TokenUses = t.Customer, t.Site, t.Labels, t.ID, t.Uses
	n.Pending = t.Approval
	return nil
}

// copyOf binds a newcomer to the customer and site of the host whose state folder
// it was copied from, which its current certificate proves.
func (s *Server) copyOf(ctx context.Context, n *engine.Newcomer) error {
	parent, err := s.identify(ctx)
	if err != nil {
		return err
	}
	n.Customer, n.Site, n.Labels, n.CloneOf = parent.Customer, parent.Site, parent.Labels, parent.ID
	// Where a person lets hosts in, a copy of one that was let in asks for itself.
	n.Pending = parent.Pending || !parent.ApprovedAt.IsZero()
	return nil
}

// refusal turns what a person can mend into a clear answer, and the rest into an
// error that says nothing of the collector's inside.
func (s *Server) refusal(what string, err error) error {
	for _, known := range []error{joining.ErrOther, joining.ErrUnknown, joining.ErrExpired, joining.ErrUsed, engine.ErrCopies} {
		if errors.Is(err, known) {
			return status.Error(codes.PermissionDenied, known.Error())
		}
	}
	if errors.Is(err, joining.ErrText) {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if errors.Is(err, engine.ErrStopped) {
		return status.Error(codes.Unavailable, err.Error())
	}
	return s.internal(what, err)
}

func (s *Server) internal(what string, err error) error {
	s.log.Error("a call of an agent failed", "call", what, "error", err)
	return status.Error(codes.Internal, what+" failed; the collector's log says why")
}

// Renew gives a host a fresh certificate for the key that it joined with.
func (s *Server) Renew(ctx context.Context, req *agentpb.RenewRequest) (*agentpb.RenewResponse, error) {
	csr, err := pki.ParseRequest(req.Csr)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	host, refused := s.engine.Authorize(req.HostId, csr.KeySHA256())
	if refused != nil {
		return nil, status.Error(codes.PermissionDenied, refused.Reason)
	}
	now := time.Now()
	if now.After(host.CertUntil.Add(pki.AwayLife)) {
		return nil, status.Errorf(codes.PermissionDenied,
			"this host was away for more than %d days; enrol it again with a new token", int(pki.AwayLife.Hours()/24))
	}
	chain, until, err := s.authority.SignHost(csr, host.ID, now)
	if err != nil {
		return nil, s.internal("signing a certificate", err)
	}
	if err := s.engine.Renewed(ctx, host.ID, until); err != nil {
		return nil, s.refusal("renewing a certificate", err)
	}
	return &agentpb.RenewResponse{Chain: chain}, nil
}

// identify finds the host that a verified client certificate belongs to.
func (s *Server) identify(ctx context.Context) (inventory.Host, error) {
	cert, err := clientCertificate(ctx)
	if err != nil {
		return inventory.Host{}, status.Error(codes.Unauthenticated, err.Error())
	}
	id, err := agentpb.HostID(cert)
	if err != nil {
		return inventory.Host{}, status.Error(codes.Unauthenticated, err.Error())
	}
	host, refused := s.engine.Authorize(id, pki.KeySHA256(cert))
	if refused != nil {
		return inventory.Host{}, status.Error(codes.PermissionDenied, refused.Reason)
	}
	return host, nil
}

var errNoCertificate = errors.New("a client certificate is needed; enrol this machine first")

func clientCertificate(ctx context.Context) (*x509.Certificate, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errNoCertificate
	}
	v, ok := p.AuthInfo.(*visitor)
	if !ok || len(v.State.VerifiedChains) == 0 {
		return nil, errNoCertificate
	}
	return v.State.VerifiedChains[0][0], nil
}

// cut ends the connection that a call came by.
func cut(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if v, ok := p.AuthInfo.(*visitor); ok {
			v.cut()
		}
	}
}
