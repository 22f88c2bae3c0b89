package enroll

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/wacht-io/wacht/agent/agentpb"
)

// Join makes a key and turns the token into an identity. conn is over JoinTLS.
func Join(ctx context.Context, conn grpc.ClientConnInterface, token string, machine *agentpb.Machine) (*Identity, error) {
	return join(ctx, conn, token, machine)
}

// JoinAnew gives this machine an identity beside the one whose certificate conn
// shows, for a state folder that turned out to be a copy or was rolled back.
func JoinAnew(ctx context.Context, conn grpc.ClientConnInterface, machine *agentpb.Machine) (*Identity, error) {
	return join(ctx, conn, "", machine)
}

func join(ctx context.Context, conn grpc.ClientConnInterface, token string, machine *agentpb.Machine) (*Identity, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := request(key)
	if err != nil {
		return nil, err
	}
	resp, err := agentpb.NewCollectorClient(conn).Join(ctx, &agentpb.JoinRequest{Token: token, Csr: csr, Machine: machine})
	if err != nil {
		return nil, fmt.Errorf("joining: %w", err)
	}
	id, err := newIdentity(key, resp.GetChain())
	if err != nil {
		return nil, fmt.Errorf("joining: the collector's answer: %w", err)
	}
	if id.HostID != resp.GetHostId() {
		return nil, fmt.Errorf("joining: the certificate is for host %q, the answer for %q", id.HostID, resp.GetHostId())
	}
	return id, nil
}

// Renew returns the identity with a fresh certificate for the same key. conn may
// show the current certificate, or none when that has ended.
func Renew(ctx context.Context, conn grpc.ClientConnInterface, id *Identity) (*Identity, error) {
	csr, err := request(id.Key)
	if err != nil {
		return nil, err
	}
	resp, err := agentpb.NewCollectorClient(conn).Renew(ctx, &agentpb.RenewRequest{HostId: id.HostID, Csr: csr})
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate: %w", err)
	}
	fresh, err := newIdentity(id.Key, resp.GetChain())
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate: the collector's answer: %w", err)
	}
	if fresh.HostID != id.HostID {
		return nil, fmt.Errorf("renewing the certificate: it is for host %q, not %q", fresh.HostID, id.HostID)
	}
	return fresh, nil
}
