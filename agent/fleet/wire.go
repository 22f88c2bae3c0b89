package fleet

import (
	"context"
	"net"
	"sync/atomic"
)

// wire dials and counts what goes over its connections, TLS included, IP not.
type wire struct {
	dial           func(context.Context, string) (net.Conn, error)
	sent, received atomic.Int64
}

func (w *wire) connect(ctx context.Context, addr string) (net.Conn, error) {
	dial := w.dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{conn, w}, nil
}

type countedConn struct {
	net.Conn

	wire *wire
}

// Read implements net.Conn.
func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.received.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wire.sent.Add(int64(n))
	return n, err
}
