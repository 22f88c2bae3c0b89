package sandbox

import (
	"crypto/sha256"
	"io"
	"time"
)

// ServiceOptions say how a program that runs until it is stopped is started. Zero
// limits set no bound.
type ServiceOptions struct {
	// SHA256 is what the program's bytes must have.
	SHA256 [sha256.Size]byte
	// Env is put behind the clean environment, as KEY=value.
	Env []string
	// Dir is an absolute folder that exists: the program starts in it, and it is the
	// only one that it may write to.
	Dir string
	// User is whom the program runs as; nil is this process's own user.
	User *User
	// Hidden are folders whose files the program may not read, whoever it runs as.
	Hidden []string
	// Trusted starts the program also where the kernel can't hide folders from it.
	Trusted bool
	// MaxMemory bounds memory in bytes: of all its processes with a control group,
	// of each without.
	MaxMemory uint64
	// MaxProcesses bounds processes and threads.
	MaxProcesses int
	// MaxCPU bounds the processor time of each process over its whole life.
	MaxCPU time.Duration
	// Group is the control group to make the program's own in; nil uses none.
	Group *ControlGroup
	// Stdout and Stderr take what it writes. An error of theirs ends the program.
	Stdout, Stderr io.Writer
}

// User is a user that a program runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32
}
