//go:build !linux

package ping

import (
	"errors"
	"fmt"
	"net/netip"
)

// gateway is not read on this system: name the gateway's address as a target.
func gateway() (netip.Addr, error) {
	return netip.Addr{}, fmt.Errorf("the default gateway is not looked up on this system; give its address instead (%w)", errors.ErrUnsupported)
}

func neighbour(netip.Addr) bool { return false }
