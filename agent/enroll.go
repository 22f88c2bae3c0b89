package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/agent/internal/config"
	"github.com/wacht-io/wacht/agent/internal/enroll"
	"github.com/wacht-io/wacht/agent/internal/statefile"
	"github.com/wacht-io/wacht/agent/internal/uplink"
)

// Joined is what Enroll gives.
type Joined struct {
	HostID, StateDir string
	Until            time.Time // end of the first certificate
}

// ErrJoined means that the state folder has an identity already.
var ErrJoined = errors.New("this machine has joined a collector before")

// ErrNoCollector means that neither the options nor the machine's own file name one.
var ErrNoCollector = errors.New("no collector is named")

// ErrRefused means that the collector was reached, and does not take the token.
var ErrRefused = errors.New("the collector refuses")

const joinTimeout = time.Minute

// Enroll joins the machine to the collector named in opts with a token, and stores
// the identity. With force it replaces one that is there.
func Enroll(ctx context.Context, opts Options, token string, force bool) (*Joined, error) {
	conf, err := loadConfig(&opts, nil)
	if err != nil {
		return nil, err
	}
	if conf.Collector == "" {
		return nil, ErrNoCollector
	}
	if err := ownFolder(conf.StateDir); err != nil {
		return nil, err
	}
	parsed, err := agentpb.ParseToken(token)
	if err != nil {
		return nil, err
	}
	if _, err := enroll.Load(conf.StateDir); !force && !errors.Is(err, enroll.ErrNotEnrolled) {
		return nil, fmt.Errorf("%w (%s)", ErrJoined, conf.StateDir)
	}
	if err := os.MkdirAll(conf.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	// The folder is tried before the token is used up.
	if err := statefile.Write(filepath.Join(conf.StateDir, addressName), []byte(conf.Collector+"\n")); err != nil {
		return nil, err
	}
	id, err := joinOver(ctx, &opts, conf, parsed)
	if err != nil {
		return nil, err
	}
	if err := id.Save(conf.StateDir); err != nil {
		return nil, err
	}
	return &Joined{id.HostID, conf.StateDir, id.Expires()}, nil
}

func joinOver(ctx context.Context, opts *Options, conf *config.Config, token agentpb.Token) (*enroll.Identity, error) {
	conn, err := uplink.Dial(conf.Collector, credentials.NewTLS(enroll.JoinTLS(token, time.Now())), opts.Dial)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	machine := opts.Machine
	if machine == nil {
		machine = enroll.Machine(ctx, conf.Role, opts.Version)
	}
	id, err := enroll.Join(ctx, conn, token.String(), machine)
	var told interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &told) {
		return id, err
	}
	switch s := told.GRPCStatus(); s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		return nil, fmt.Errorf("the collector at %s can't be reached: %s", conf.Collector, s.Message())
	default:
		return nil, fmt.Errorf("%w: %s", ErrRefused, s.Message())
	}
}
