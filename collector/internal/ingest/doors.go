package ingest

import (
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Bounds of the connections that are open at once. A host needs one, and a second
// while its first hangs in a network that broke; strangers, who have no certificate
// yet, need one for the moment in which they join.
const (
	maxPerHost   = 8
	maxStrangers = 1000
)

// doors is TLS that keeps account of who is inside: whoever comes over a bound puts
// out the one of the same kind that came first, so that hanging about keeps nobody
// else from joining.
type doors struct {
	credentials.TransportCredentials

	mu     sync.Mutex
	inside map[string][]*visitor // by certificate, "" for strangers; oldest first
}

func newDoors(tls credentials.TransportCredentials) *doors {
	return &doors{TransportCredentials: tls, inside: make(map[string][]*visitor)}
}

// visitor is who a connection belongs to, and what cuts it.
type visitor struct {
	credentials.TLSInfo
	raw net.Conn
	who string
}

// cut ends the connection without waiting for its other end.
func (v *visitor) cut() { _ = v.raw.Close() }

// ServerHandshake lets a connection in.
func (d *doors) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := d.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	info, ok := auth.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("a connection came with %T", auth)
	}
	v := &visitor{TLSInfo: info, raw: raw}
	if len(info.State.VerifiedChains) > 0 {
		sum := sha256.Sum256(info.State.VerifiedChains[0][0].RawSubjectPublicKeyInfo)
		v.who = string(sum[:])
	}
	if over := d.enter(v); over != nil {
		over.cut()
	}
	return &connection{Conn: conn, leave: sync.OnceFunc(func() { d.leave(v) })}, v, nil
}

// Clone gives doors of their own, as credentials ask for.
func (d *doors) Clone() credentials.TransportCredentials {
	return newDoors(d.TransportCredentials.Clone())
}

func (d *doors) enter(v *visitor) (over *visitor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	bound := maxPerHost
	if v.who == "" {
		bound = maxStrangers
	}
	d.inside[v.who] = append(d.inside[v.who], v)
	if all := d.inside[v.who]; len(all) > bound {
		over = all[0]
		d.inside[v.who] = slices.Delete(all, 0, 1)
	}
	return over
}

func (d *doors) leave(v *visitor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.DeleteFunc(d.inside[v.who], func(x *visitor) bool { return x == v })
	d.inside[v.who] = all
	if len(all) == 0 {
		delete(d.inside, v.who)
	}
}

// connection tells the doors when it is over.
type connection struct {
	net.Conn
	leave func()
}

// Close ends the connection.
func (c *connection) Close() error {
	c.leave()
	return c.Conn.Close()
}
