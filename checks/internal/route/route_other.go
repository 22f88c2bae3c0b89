//go:build !linux

package route

import (
	"errors"
	"fmt"
	"net/netip"
)

// Default is not read on this system.
func Default() (Route, error) {
	return Route{}, fmt.Errorf("the default gateway is not looked up on this system; give its address instead (%w)", errors.ErrUnsupported)
}

// Neighbour is not known on this system.
func Neighbour(netip.Addr) bool { return false }
