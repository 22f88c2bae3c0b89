package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/wacht-io/wacht/checks"
)

// MaxProgramBytes bounds a verified program's file: on Linux its bytes are kept in
// memory for as long as the Program is open.
const MaxProgramBytes = 256 << 20

// Program is an executable file. One that Open returned has been verified, and the
// bytes that were verified are the ones that run, whatever has become of the file
// since:
//
//   - Linux: they are in a sealed memory file, from which they are executed. A script
//     is read by its interpreter from there too.
//   - Windows: the file is held open so that nobody can write, rename or delete it.
//   - Other systems: they are copied into a new folder that only this user can enter.
//
// A script ("#!") is found under its own name in a folder of its own, beside links to
// what is beside the original, so that it can load its libraries from there. Set-user-id
// bits and file capabilities are not kept where the bytes are.
//
// A Program is safe for concurrent use until Close.
type Program struct {
	path     string // as it was asked for
	resolved string // the file that path led to when it was verified
	held            // the verified bytes; the zero value where there are none
}

// Open verifies the program at path, which must be absolute: that nobody but root and
// this process's user can change or replace it, and that its SHA-256 is digest.
// The caller closes the program when nothing of it runs any more.
func Open(path string, digest [sha256.Size]byte) (*Program, error) {
	p, err := open(path, digest)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	return p, nil
}

func open(path string, want [sha256.Size]byte) (*Program, error) {
	resolved, err := verifyGuarded(path)
	if err != nil {
		return nil, err
	}
	in, err := openFile(resolved)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p := &Program{path: path, resolved: resolved}
	got, err := p.hold(in, resolved)
	if err == nil && got != want {
		err = fmt.Errorf("its SHA-256 is %x, but %x was allowed: if the change is wanted, allow the new digest in this machine's own file", got, want)
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Digest returns the SHA-256 of the program at path, once Open would run it.
func Digest(path string) ([sha256.Size]byte, error) {
	resolved, err := verifyGuarded(path)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("verifying %s: %w", path, err)
	}
	in, err := openFile(resolved)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("reading %s: %w", path, err)
	}
	defer in.Close()
	return copyHashed(io.Discard, in)
}

// ParseDigest reads a SHA-256 as sha256sum writes it: 64 hexadecimal digits.
func ParseDigest(text string) (digest [sha256.Size]byte, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(digest) {
		return digest, fmt.Errorf("%q is not a SHA-256 of %d hexadecimal digits", text, 2*len(digest))
	}
	return [sha256.Size]byte(data), nil
}

// Path returns the path that the program was asked for by.
func (p *Program) Path() string { return p.path }

// Close gives up the verified bytes. What runs already goes on, but a script that its
// interpreter has not read yet may be gone.
func (p *Program) Close() error { return p.release() }

// Run is Exec for an open program.
func (s *Sandbox) Run(ctx context.Context, p *Program, args []string, stdin []byte) (checks.Output, error) {
	out, err := s.run(ctx, p, args, stdin)
	if err != nil {
		return checks.Output{}, fmt.Errorf("running %s: %w", p.path, err)
	}
	return out, nil
}

// command prepares the program without starting it. Its own name stays the path
// that was asked for: some programs choose what to do by it.
func (p *Program) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.resolved)
	cmd.Args = append([]string{p.path}, args...)
	cmd.Env = environment()
	cmd.Dir = workDir()
	cmd.WaitDelay = pipeDelay
	p.attach(cmd)
	return cmd
}

// copyHashed copies a program's bytes, of which there may be MaxProgramBytes.
func copyHashed(to io.Writer, from io.Reader) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(from, MaxProgramBytes+1))
	if err != nil {
		return sum, fmt.Errorf("reading its bytes: %w", err)
	}
	if n > MaxProgramBytes {
		return sum, fmt.Errorf("the file exceeds the limit of %d bytes", MaxProgramBytes)
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// isScript says whether the file names an interpreter in its first line.
func isScript(file io.ReaderAt) bool {
	var begin [2]byte
	_, err := file.ReadAt(begin[:], 0)
	return err == nil && string(begin[:]) == "#!"
}

// closeFile closes a file that may be nil.
func closeFile(file *os.File) error {
	if file == nil {
		return nil
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("closing a verified program: %w", err)
	}
	return nil
}
