package collector

import (
	"fmt"
	"strings"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/desk"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/store"
)

// ambiguousError says that a name means more than one host. People are shown it, as
// they are what else is invalid.
type ambiguousError struct {
	name  string
	hosts []engine.HostView
}

// Error lists the hosts that could be meant.
func (e *ambiguousError) Error() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d hosts are called %q; name the one that is meant by its id:", len(e.hosts), e.name)
	for i, h := range e.hosts {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, " %s/%s is %s", h.Customer, h.Name, h.ID)
	}
	return out.String()
}

// Unwrap makes it an error of the request.
func (e *ambiguousError) Unwrap() error { return desk.ErrInvalid }

// hostOf finds the one host that an id or a name means in a scope. Ids go first, for
// each customer names its own hosts.
func (b backend) hostOf(sc api.Scope, name string) (engine.HostDetail, error) {
	h, err := b.engine.Host("", name)
	if err == nil && (sc.Customer == "" || h.Customer == sc.Customer) {
		return h, nil
	}
	if err != nil && !isNotFound(err) {
		return engine.HostDetail{}, err
	}
	var called []engine.HostView
	for _, v := range b.engine.Hosts(sc.Customer) {
		if v.Name == name {
			called = append(called, v)
		}
	}
	switch len(called) {
	case 0:
		return engine.HostDetail{}, fmt.Errorf("host %q: %w", name, store.ErrNotFound)
	case 1:
		return b.engine.Host(called[0].Customer, called[0].ID)
	}
	return engine.HostDetail{}, &ambiguousError{name, called}
}
