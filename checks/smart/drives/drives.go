// Package drives finds the machine's drives and asks them about their health: through
// smartctl, or through the helper that runs smartctl as root for an agent that is not.
package drives

import (
	"context"
	"errors"
)

// Device is a drive as smartctl's scan names it.
type Device struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"`
	OpenError string `json:"open_error,omitempty"` // why it could not be opened
}

// Answer is what smartctl wrote of one drive.
type Answer struct {
	ExitStatus int    // smartctl(8), "EXIT STATUS", or Asleep
	JSON       []byte // one document, as smartctl --json writes it
}

// Source is who can be asked for drives. One value is for one look at them.
type Source interface {
	// Scan lists the drives there are.
	Scan(ctx context.Context) ([]Device, error)
	// Ask asks a drive of that list, without waking one that has spun down. The
	// error is ErrChanged when it is another drive by now.
	Ask(ctx context.Context, d Device) (Answer, error)
	// Denied tells a person what to do when the system let nobody at a drive.
	Denied() string
}

// ErrNoSmartctl says that the program is missing.
var ErrNoSmartctl = errors.New("smartctl is not installed (package smartmontools)")

// ErrChanged says that the drives have changed since they were listed.
var ErrChanged = errors.New("the drives have changed since they were listed")

// Asleep is the exit status of an Answer of a disk that has spun down: the bits for
// a wrong command line and for a device that can't be opened, which smartctl itself
// never sets together.
const Asleep = 1<<0 | 1<<1
