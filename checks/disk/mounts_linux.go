package disk

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// mounts reads the table of this process, whose paths are the ones that ask can
// reach, where gopsutil reads the first process's and drops the device's number
// and the filesystem's own options.
func mounts(ctx context.Context) ([]mount, error) {
	data, err := os.ReadFile(hostfs.Proc(ctx, "self", "mountinfo"))
	if err != nil {
		return nil, err
	}
	return choose(parse(data), isDir), nil
}

// entry is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type entry struct {
	mount
	root string // the folder of the filesystem that is mounted
}

func parse(data []byte) []entry {
	var all []entry
	for line := range bytes.Lines(data) {
		if e, ok := parseLine(string(bytes.TrimSpace(line))); ok {
			all = append(all, e)
		}
	}
	return all
}

// parseLine reads "36 35 98:0 /sub /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw".
func parseLine(line string) (entry, bool) {
	before, after, ok := strings.Cut(line, " - ")
	front, back := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(front) < 6 || len(back) < 3 {
		return entry{}, false
	}
	return entry{
		mount: mount{
			id:       front[0],
			point:    unescape(front[4]),
			device:   front[2],
			kind:     back[0],
			readOnly: readOnly(back[len(back)-1]),
		},
		root: unescape(front[3]),
	}, true
}

// readOnly looks at the filesystem's own options, not at those of the mount, which
// a service manager sets to ro for the agent alone. ext4 since Linux 6.15 stays
// formally writable after an error and says so with a word of its own.
func readOnly(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "ro", "emergency_ro", "shutdown":
			return true
		}
	}
	return false
}

// unescape reads the octal numbers that the kernel writes spaces, tabs, line ends
// and backslashes as.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1:i+4]) {
			out = append(out, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func octal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}

// choose keeps the filesystems that hold somebody's data, each once. Of several
// mounts at one point the last hides the others. Of several mounts of one
// filesystem the root folder's is kept, or else the first, so that a bind mount
// made later does not rename it. isDir tells a folder from a file, which container
// runtimes mount one by one.
func choose(all []entry, isDir func(string) bool) []mount {
	top := make(map[string]string, len(all)) // the last mount at each point
	for _, e := range all {
		top[e.point] = e.id
	}
	var chosen []mount
	at := make(map[string]int) // where in chosen each device is
	for _, e := range all {
		if top[e.point] != e.id || !holdsData(e) {
			continue
		}
		i, known := at[e.device]
		switch {
		case known && e.point == "/":
			chosen[i] = e.mount
		case known:
		case e.root != "/" && !network(e.kind) && !isDir(e.point):
		default:
			at[e.device] = len(chosen)
			chosen = append(chosen, e.mount)
		}
	}
	return chosen
}

func isDir(point string) bool {
	info, err := os.Stat(point)
	return err != nil || info.IsDir()
}

// network says whether a filesystem is answered by a program or another machine,
// so that any access may hang.
func network(kind string) bool {
	switch kind {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "lustre", "glusterfs", "fuse", "fuseblk", "ncpfs":
		return true
	}
	return strings.HasPrefix(kind, "fuse.")
}

// Filesystems without data of their own: interfaces of the kernel, and images that
// are full by nature.
var noData = []string{
	"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cramfs", "debugfs", "devpts", "devtmpfs",
	"ecryptfs", "efivarfs", "erofs", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse", "fuse.squashfuse",
	"fusectl", "hugetlbfs", "iso9660", "mqueue", "nfsd", "nsfs", "proc", "pstore", "ramfs", "resctrl", "rootfs",
	"rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tracefs", "udf",
}

// Folders in which a tmpfs belongs to the system or to a container, and is nobody's
// to look after.
var ownTmpfs = []string{"/run", "/dev", "/sys", "/proc", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/var/lib/kubelet"}

func holdsData(e entry) bool {
	switch {
	case e.kind == "overlay":
		// In a container this is the root: its figures are those of the writable layer.
		// One without such a layer is an image.
		return e.point == "/" && !e.readOnly
	case slices.Contains(noData, e.kind):
		return false
	case e.kind == "tmpfs":
		return !slices.ContainsFunc(ownTmpfs, func(folder string) bool { return within(e.point, folder) })
	case e.kind == "vfat" && slices.Contains([]string{"/boot", "/boot/efi", "/boot/firmware", "/efi", "/esp"}, e.point):
		return false
	}
	return !strings.EqualFold(path.Base(e.point), "recovery") && !within(e.point, "/snap") && !within(e.point, "/boot/efi")
}

func within(point, folder string) bool {
	return point == folder || strings.HasPrefix(point, folder+"/")
}

// ask asks the filesystem itself (statfs(2)).
func ask(m mount) (usage, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(m.point, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return usage{}, err
		}
		unit := uint64(st.Frsize)
		if unit == 0 {
			unit = uint64(st.Bsize)
		}
		// Some network filesystems count free inodes beyond their number.
		return usage{
			size: st.Blocks * unit, free: min(st.Bavail, st.Blocks) * unit,
			inodes: st.Files, inodesFree: min(st.Ffree, st.Files),
		}, nil
	}
}

// unreachable says that no filesystem is at the path: it was unmounted a moment
// ago, or a later mount further up hides it.
func unreachable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

func refused(err error) bool { return errors.Is(err, fs.ErrPermission) }
