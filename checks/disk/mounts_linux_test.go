package disk

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func points(mounts []mount) []string {
	out := make([]string, len(mounts))
	for i, m := range mounts {
		out[i] = m.point
	}
	return out
}

// Each machine is a folder with its mountinfo and, in a file beside it, the mount
// points that must be found, one a line.
func TestMachines(t *testing.T) {
	machines, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, machine := range machines {
		t.Run(machine.Name(), func(t *testing.T) {
			read := func(name string) []byte {
				data, err := os.ReadFile("testdata/" + machine.Name() + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				return data
			}
			isDir := func(point string) bool { return !strings.HasPrefix(point, "/etc/") }
			got := points(choose(parse(read("mountinfo")), isDir))
			want := strings.Fields(string(read("found")))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("found %q\nnot   %q", got, want)
			}
		})
	}
}

func line(id, device, root, point, kind, super string) string {
	return id + " 1 " + device + " " + root + " " + point + " rw,relatime shared:1 - " + kind + " none " + super + "\n"
}

// A bind mount made later must not rename the filesystem that was there.
func TestLaterBindMountChangesNothing(t *testing.T) {
	before := line("20", "8:1", "/", "/", "ext4", "rw") + line("21", "8:2", "/@data", "/srv/data", "btrfs", "rw")
	later := before + line("22", "8:2", "/", "/a", "btrfs", "rw") + line("23", "8:1", "/home", "/b", "ext4", "rw")
	always := func(string) bool { return true }
	if got := points(choose(parse([]byte(later)), always)); !slices.Equal(got, []string{"/", "/srv/data"}) {
		t.Errorf("found %q", got)
	}
}

func TestReadOnlyIsTheFilesystemsOwnState(t *testing.T) {
	for text, want := range map[string]bool{
		"1 0 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro": false, // of the mount, for this process
		"1 0 8:1 / / rw,relatime - ext4 /dev/sda1 ro,errors=remount-ro":          true,
		"1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw,emergency_ro":               true,
		"1 0 8:1 / / rw - ext4 /dev/sda1 rw,shutdown":                            true,
	} {
		e, ok := parseLine(text)
		if !ok || e.readOnly != want {
			t.Errorf("%s: read-only is %t, %t", text, e.readOnly, ok)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`/mnt/my\040disk`: "/mnt/my disk", `\134\011\012`: "\\\t\n", `/a\04`: `/a\04`, `/a\999`: `/a\999`, `\377`: "\xff", `a\`: `a\`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("%s is read as %q, not %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(line("20", "8:1", "/", `/a\040b`, "ext4", "rw")))
	f.Add([]byte("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all := parse(data)
		chosen := choose(all, func(string) bool { return true })
		if len(chosen) > len(all) {
			t.Errorf("%d of %d", len(chosen), len(all))
		}
		devices := map[string]bool{}
		for _, m := range chosen {
			if devices[m.device] {
				t.Errorf("device %s twice", m.device)
			}
			devices[m.device] = true
			if len(itemName(m.point)) > 256 {
				t.Errorf("the item's name has %d bytes", len(itemName(m.point)))
			}
		}
	})
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		err                  error
		unreachable, refused bool
	}{
		{unix.ENOENT, true, false}, {unix.ENOTDIR, true, false},
		{unix.EACCES, false, true}, {unix.EPERM, false, true},
		{unix.EIO, false, false}, {unix.ESTALE, false, false}, {unix.ENOTCONN, false, false},
	} {
		if unreachable(tt.err) != tt.unreachable || refused(tt.err) != tt.refused {
			t.Errorf("%v: unreachable %t, refused %t", tt.err, unreachable(tt.err), refused(tt.err))
		}
	}
}
