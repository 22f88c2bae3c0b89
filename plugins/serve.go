// Package plugins is what the author of a check imports that is not part of the agent.
// The check is written against checks.Check as the built-in ones are, and its main
// function is
//
//	//go:embed check.yaml
//	var declaration []byte
//
//	func main() { plugins.Serve(check{plugins.MustSpec(declaration)}) }
//
// The agent starts the program when the check is due, with few rights and little
// memory, and it speaks with the agent as pluginpb/plugin.proto says.
package plugins

import (
	"context"
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// MustSpec reads a check.yaml that is compiled in. One that can't be read is a fault of
// the build, and a panic that says what is wrong.
func MustSpec(declaration []byte) *checks.Spec {
	spec, err := checks.ParseSpec(declaration)
	if err != nil {
		panic(err)
	}
	return spec
}

// Serve serves the check to the agent that started this program. It returns when the
// agent ends it; started by hand, the program says what it is and exits. More than one
// check only the agent's own wacht-probe can serve.
func Serve(served ...checks.Check) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  pluginpb.Version,
			MagicCookieKey:   pluginpb.CookieKey,
			MagicCookieValue: pluginpb.CookieValue,
		},
		Plugins: goplugin.PluginSet{"check": &pipe{server: newServer(served)}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(contain))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
}

// pipe hands the server to go-plugin.
type pipe struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer registers the check.
func (s *pipe) GRPCServer(_ *goplugin.GRPCBroker, to *grpc.Server) error {
	pluginpb.RegisterCheckServer(to, s.server)
	return nil
}

// GRPCClient is the agent's side, which plugins/host has.
func (*pipe) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this program serves a check; it uses none")
}
