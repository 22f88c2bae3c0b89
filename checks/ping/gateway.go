package ping

import "errors"

// errNoGateway says that the machine has no default route.
var errNoGateway = errors.New("the machine has no default gateway")
