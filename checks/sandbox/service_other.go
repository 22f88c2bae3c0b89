//go:build !linux

package sandbox

import (
	"context"
	"errors"
)

var errOnlyLinux = errors.New("programs that run beside the agent are kept in bounds on Linux alone")

// Service is a program that runs.
type Service struct{}

// StartService starts nothing here.
func StartService(context.Context, string, ServiceOptions) (*Service, error) {
	return nil, errOnlyLinux
}

// Done is closed when the program has ended.
func (*Service) Done() <-chan struct{} { return nil }

// Err says how the program ended.
func (*Service) Err() error { return errOnlyLinux }

// Kill ends the program.
func (*Service) Kill() {}

// ControlGroup bounds what is in it.
type ControlGroup struct{}

// OwnControlGroup finds none here.
func OwnControlGroup() (*ControlGroup, error) { return nil, errOnlyLinux }

// Missing lists what bounds no group here.
func (*ControlGroup) Missing() []string { return nil }
