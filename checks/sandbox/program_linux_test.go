package sandbox_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/sandbox"
)

// opened opens a program with the digest that it has.
func opened(t *testing.T, path string) *sandbox.Program {
	t.Helper()
	digest, err := sandbox.Digest(path)
	must(t, err)
	p, err := sandbox.Open(path, digest)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

func stdout(t *testing.T, p *sandbox.Program, args ...string) string {
	t.Helper()
	out, err := sandbox.New(sandbox.Options{}).Run(t.Context(), p, args, nil)
	must(t, err)
	return string(out.Stdout) + string(out.Stderr)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// The bytes that were verified run, whatever becomes of the file: overwritten in
// place, replaced, or removed.
func TestSwappedAfterVerification(t *testing.T) {
	dir := rootDir(t)
	binary := filepath.Join(dir, "binary")
	data, err := os.ReadFile("/bin/echo")
	must(t, err)
	programs := map[string]struct{ path, text, says string }{
		"script": {filepath.Join(dir, "script"), "#!/bin/sh\necho verified\n", "verified\n"},
		"binary": {binary, string(data), "said\n"},
	}
	swaps := map[string]func(path string) error{
		"overwritten": func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\necho swapped\n"), 0o700) },
		"replaced": func(path string) error {
			return os.Rename(write(t, filepath.Join(dir, "other"), "#!/bin/sh\necho swapped\n"), path)
		},
		"removed": os.Remove,
	}
	for name, program := range programs {
		for how, swap := range swaps {
			t.Run(name+" "+how, func(t *testing.T) {
				p := opened(t, write(t, program.path, program.text))
				must(t, swap(program.path))
				for range 2 {
					if got := stdout(t, p, "said"); got != program.says {
						t.Errorf("it says %q, not %q", got, program.says)
					}
				}
			})
		}
	}
}

func TestWrongDigest(t *testing.T) {
	path := write(t, filepath.Join(rootDir(t), "program"), "#!/bin/sh\necho ran >&2\n")
	want := sha256.Sum256([]byte("another program"))
	_, err := sandbox.Open(path, want)
	_, execErr := sandbox.New(sandbox.Options{}).Exec(t.Context(), checks.Command{Path: path, SHA256: &want})
	has := sha256.Sum256([]byte("#!/bin/sh\necho ran >&2\n"))
	for _, err := range []error{err, execErr} {
		for _, word := range []string{path, fmt.Sprintf("%x", has), fmt.Sprintf("%x", want), "allow the new digest"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("no %s in: %v", word, err)
			}
		}
	}
}

func TestParseDigest(t *testing.T) {
	sum := sha256.Sum256(nil)
	if got, err := sandbox.ParseDigest(fmt.Sprintf("%X", sum)); err != nil || got != sum {
		t.Errorf("ParseDigest = %x, %v", got, err)
	}
	for _, text := range []string{"", "abc", strings.Repeat("0", 62), strings.Repeat("0", 66), strings.Repeat("g", 64)} {
		if _, err := sandbox.ParseDigest(text); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
			t.Errorf("ParseDigest(%q): %v", text, err)
		}
	}
}

// What could be changed by others is refused, also when its digest is right.
func TestUntrustedPrograms(t *testing.T) {
	dir := rootDir(t)
	open := filepath.Join(dir, "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o1777))
	large := filepath.Join(dir, "large")
	must(t, os.WriteFile(large, nil, 0o700))
	must(t, os.Truncate(large, sandbox.MaxProgramBytes+1))
	for path, why := range map[string]string{
		"sh": "not absolute",
		write(t, filepath.Join(open, "program"), "#!/bin/sh\n"): "everybody can write to " + open,
		large: fmt.Sprintf("exceeds the limit of %d bytes", sandbox.MaxProgramBytes),
		dir:   "not a regular file",
	} {
		_, err := sandbox.Open(path, sha256.Sum256(nil))
		_, digestErr := sandbox.Digest(path)
		for _, err := range []error{err, digestErr} {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s must be refused with %q, but gave: %v", path, why, err)
			}
		}
	}
}

// A program that looks at its own name finds the one that it was asked for by: one
// binary with many names is common.
func TestOwnName(t *testing.T) {
	dir := rootDir(t)
	link := filepath.Join(dir, "dirname")
	must(t, os.Symlink("/bin/sh", link))
	if got := stdout(t, opened(t, link), "-c", "echo $0"); got != link+"\n" {
		t.Errorf("its name is %q, not %s", got, link)
	}
}

// A script finds itself under its name, beside what it was installed with.
func TestScriptFindsItsLibrary(t *testing.T) {
	dir := rootDir(t)
	write(t, filepath.Join(dir, "utils.sh"), "echo the library\n")
	write(t, filepath.Join(dir, "utils.pm"), "package utils; print \"the library\\n\"; 1;\n")
	for name, text := range map[string]string{
		"check_sh":   "#!/bin/sh\nbasename \"$0\"\n. \"$(dirname \"$0\")/utils.sh\"\n",
		"check_perl": "#!/usr/bin/perl -w\nuse FindBin; use lib $FindBin::Bin; use File::Basename;\nBEGIN { print basename($0), \"\\n\" }\nuse utils;\n",
	} {
		if got := stdout(t, opened(t, write(t, filepath.Join(dir, name), text))); got != name+"\nthe library\n" {
			t.Errorf("%s says %q", name, got)
		}
	}
}

// Nothing that runs can change the bytes for the next run.
func TestBytesAreSealed(t *testing.T) {
	path := filepath.Join(rootDir(t), "program")
	p := opened(t, write(t, path, "#!/bin/sh\nsh -c 'echo \"echo changed\" >/proc/self/fd/3'\necho 'exit 1' >\"$0\"\necho verified\n"))
	for range 2 {
		got := stdout(t, p)
		if !strings.HasPrefix(got, "verified\n") || strings.Count(got, "Operation not permitted") != 2 {
			t.Errorf("it says %q", got)
		}
	}
}

func TestProgramRunsManyTimesAtOnce(t *testing.T) {
	p := opened(t, write(t, filepath.Join(rootDir(t), "program"), "#!/bin/sh\necho \"$1\"\n"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			out, err := sandbox.New(sandbox.Options{}).Run(t.Context(), p, []string{fmt.Sprint(i)}, nil)
			if err != nil || string(out.Stdout) != fmt.Sprintf("%d\n", i) {
				t.Errorf("run %d: %q, %v", i, out.Stdout, err)
			}
		})
	}
	wg.Wait()
}

// A closed program leaves neither a file open nor a folder behind.
func TestCloseLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	path := write(t, filepath.Join(rootDir(t), "program"), "#!/bin/sh\n")
	before, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	digest, err := sandbox.Digest(path)
	must(t, err)
	for range 3 {
		out, err := sandbox.New(sandbox.Options{}).Exec(t.Context(), checks.Command{Path: path, SHA256: &digest})
		must(t, err)
		if out.ExitCode != 0 {
			t.Errorf("exit code %d", out.ExitCode)
		}
	}
	after, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	left, err := os.ReadDir(temp)
	must(t, err)
	if len(after) > len(before) || len(left) > 0 {
		t.Errorf("%d files were open before, %d after; left in the temporary folder: %v", len(before), len(after), left)
	}
}

// Who is not root may run programs of root and of their own, and no others'.
func TestUserIsGuardedToo(t *testing.T) {
	dir := rootDir(t)
	must(t, os.Chmod(dir, 0o755))
	for _, tt := range []struct {
		path, want string
		owner      int
	}{
		{write(t, filepath.Join(dir, "ofroot"), "#!/bin/sh\n"), "ok", 0},
		{write(t, filepath.Join(dir, "own"), "#!/bin/sh\n"), "ok", 65534},
		{write(t, filepath.Join(dir, "foreign"), "#!/bin/sh\n"), "belongs to user 1234; what user 65534 runs must belong to root or to that user", 1234},
	} {
		must(t, os.Chown(tt.path, tt.owner, 0))
		must(t, os.Chmod(tt.path, 0o755))
		if got := sandbox.VerifyAs(65534, tt.path); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, not %q", tt.path, got, tt.want)
		}
	}
}
