package uptime

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// rebootRequired asks the files of each family of distributions. Without apt, rpm
// or any file that tells, it is not known.
func rebootRequired(ctx context.Context, boot time.Time) reboot {
	r := flagged(ctx)
	if r.required {
		return r
	}
	if rpm := exists(hostfs.Root(ctx, "usr/lib/sysimage/rpm")) || exists(hostfs.Root(ctx, "var/lib/rpm")); rpm {
		r.known = true
		r.reasons = replacedSince(ctx, boot)
		r.required = len(r.reasons) > 0
	}
	r.known = r.known || exists(hostfs.Root(ctx, "var/lib/dpkg"))
	return r
}

// flagged looks for the files that installers leave until the next start: of apt
// with the packages that asked for it, and of zypper.
func flagged(ctx context.Context) reboot {
	if exists(hostfs.Run(ctx, "reboot-required")) {
		return reboot{known: true, required: true, reasons: packages(hostfs.Run(ctx, "reboot-required.pkgs"))}
	}
	if exists(hostfs.Run(ctx, "reboot-needed")) {
		return reboot{known: true, required: true}
	}
	return reboot{}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// packages reads a list of names; a package that was updated twice is in it twice.
func packages(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	names := strings.Fields(strings.ToValidUTF8(string(data), "?"))
	slices.Sort(names)
	return slices.Compact(names)
}

// replacedSince tells what dnf's needs-restarting would, of the packages that no
// running system can replace: by when their files were put in place (the change of
// the inode; a file's own time is that of its build).
func replacedSince(ctx context.Context, boot time.Time) []string {
	var reasons []string
	for _, core := range []struct{ reason, pattern string }{
		{"kernel", "usr/lib/modules/*/vmlinuz"},
		{"glibc", "usr/lib64/libc.so.6"},
		{"systemd", "usr/lib/systemd/systemd"},
		{"dbus", "usr/bin/dbus-*"},
		{"openssl-libs", "usr/lib64/libssl.so.*"},
		{"gnutls", "usr/lib64/libgnutls.so.*"},
	} {
		paths, err := filepath.Glob(hostfs.Root(ctx, core.pattern))
		if err == nil && slices.ContainsFunc(paths, func(path string) bool { return placedAfter(path, boot) }) {
			reasons = append(reasons, core.reason)
		}
	}
	return reasons
}

func placedAfter(path string, t time.Time) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Unix(st.Ctim.Unix()).After(t)
}
