package service

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeUnit is a unit of a systemd that exists on a bus of this test only.
type fakeUnit struct {
	load, active, sub string
	props             map[string]any
}

// fakeSystemd answers as org.freedesktop.systemd1 does.
type fakeSystemd struct {
	mu    sync.Mutex
	units map[string]fakeUnit
	asked map[string]int // how often each property was asked for
	hang  chan struct{}  // when set, listing units tells it and then waits for the end
	end   chan struct{}
}

func unitPath(name string) dbus.ObjectPath {
	for plain, escaped := range map[string]string{".": "_2e", "-": "_2d", "@": "_40"} {
		name = strings.ReplaceAll(name, plain, escaped)
	}
	return managerPath + "/unit/" + dbus.ObjectPath(name)
}

func (f *fakeSystemd) set(name string, change func(*fakeUnit)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[name]
	change(&u)
	f.units[name] = u
}

func (f *fakeSystemd) list(wanted func(name string) bool) []unit {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []unit
	for name, u := range f.units {
		if wanted(name) {
			out = append(out, unit{
				Name: name, Description: "about " + name, LoadState: u.load, ActiveState: u.active, SubState: u.sub,
				Path: unitPath(name), JobPath: "/",
			})
		}
	}
	return out
}

// ListUnitsByPatterns is a method of the manager.
func (f *fakeSystemd) ListUnitsByPatterns(_, patterns []string) ([]unit, *dbus.Error) {
	if f.hang != nil {
		f.hang <- struct{}{}
		<-f.end
	}
	return f.list(func(name string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { ok, _ := filepath.Match(pattern, name); return ok })
	}), nil
}

// ListUnitsByNames is a method of the manager. It gives those that do not exist as well.
func (f *fakeSystemd) ListUnitsByNames(names []string) ([]unit, *dbus.Error) {
	out := f.list(func(name string) bool { return slices.Contains(names, name) })
	for _, name := range names {
		if !slices.ContainsFunc(out, func(u unit) bool { return u.Name == name }) {
			out = append(out, unit{Name: name, LoadState: "not-found", ActiveState: "inactive", SubState: "dead", Path: unitPath(name), JobPath: "/"})
		}
	}
	return out, nil
}

// get is Properties.Get of a unit.
func (f *fakeSystemd) get(msg dbus.Message, _, property string) (dbus.Variant, *dbus.Error) {
	path, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[property]++
	for name, u := range f.units {
		if unitPath(name) != path {
			continue
		}
		if v, ok := u.props[property]; ok {
			return dbus.MakeVariant(v), nil
		}
		return dbus.MakeVariant(defaults()[property]), nil
	}
	return dbus.Variant{}, dbus.MakeFailedError(os.ErrNotExist)
}

// count says how often a property was asked for.
func (f *fakeSystemd) count(property string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[property]
}

// defaults are the properties of an enabled daemon that nothing was said about.
func defaults() map[string]any {
	return map[string]any{
		"UnitFileState": "enabled", "WantedBy": []string{"multi-user.target"}, "RequiredBy": []string{}, "TriggeredBy": []string{},
		"Type": "notify", "Restart": "no", "NRestarts": uint32(0), "ConditionResult": true, "ConditionTimestamp": uint64(1),
		"Result": "success", "ExecMainCode": int32(0), "ExecMainStatus": int32(0),
		"ExecMainStartTimestamp": uint64(0), "ExecMainExitTimestamp": uint64(0),
	}
}

// bus starts a message bus of its own, makes it the system bus of this process, and
// puts the fake systemd on it.
func bus(t testing.TB, f *fakeSystemd) {
	t.Helper()
	f.asked = make(map[string]int)
	address := startBus(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Export(f, managerPath, managerIface); err != nil {
		t.Fatal(err)
	}
	table := map[string]any{"Get": f.get}
	if err := conn.ExportSubtreeMethodTable(table, managerPath+"/unit", "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("taking the name %s: %v, %v", busName, reply, err)
	}
}

// startBus runs a real dbus-daemon and returns its address.
func startBus(t testing.TB) string {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed (Debian: apt-get install dbus)")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=` + filepath.Join(dir, "bus") + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file="+config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon gave no address: %v", err)
	}
	return strings.TrimSpace(address)
}
