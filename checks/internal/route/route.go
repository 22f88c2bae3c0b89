// Package route tells the way by which packets leave the machine.
package route

import (
	"errors"
	"net/netip"
)

// ErrNone says that the machine has no default route.
var ErrNone = errors.New("the machine has no default gateway")

// Route is a default route.
type Route struct {
	Gateway   netip.Addr
	Interface string
}
