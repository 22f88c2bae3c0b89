package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/smart/drives"
)

// machine is a smartctl of drives with serial numbers.
type machine struct {
	mu      sync.Mutex
	serials []string // by drive; empty when it does not say
	scan    error
	hangs   map[string]chan struct{} // drives that answer when their channel is closed
	said    []byte                   // instead of what a drive would say
}

func (m *machine) Scan(context.Context) ([]drives.Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var devices []drives.Device
	for i := range m.serials {
		devices = append(devices, drives.Device{Name: fmt.Sprintf("/dev/sd%c", 'a'+i), Type: "sat"})
	}
	return devices, m.scan
}

func (m *machine) Serial(_ context.Context, d drives.Device) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serials[int(d.Name[len(d.Name)-1]-'a')]
}

func (m *machine) Ask(_ context.Context, d drives.Device) (drives.Answer, error) {
	if hangs := m.hangs[d.Name]; hangs != nil {
		hangs <- struct{}{}
		<-hangs
	}
	if m.said != nil {
		return drives.Answer{JSON: m.said}, nil
	}
	report := fmt.Sprintf(`{"serial_number":%q,"model_name":"M","smart_support":{"available":true,"enabled":true}}`, m.Serial(context.Background(), d))
	return drives.Answer{ExitStatus: 4, JSON: []byte(report)}, nil
}

func (m *machine) become(serials ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serials = serials
}

// start serves a machine at a real socket, for root alone, until the test ends.
func start(t *testing.T, find func() (asker, error), sending time.Duration) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "smart.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	me := callers{uint32(os.Getuid()), uint32(os.Getgid())}
	go func() {
		ended <- serve(ctx, options{
			listener: listener, callers: me, idle: time.Hour, sending: sending, find: find, log: slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return socket
}

func of(m *machine) func() (asker, error) { return func() (asker, error) { return m, nil } }

func reply(t *testing.T, socket, request string) drives.Reply {
	t.Helper()
	var r drives.Reply
	said := ask(socket, request)
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		t.Fatalf("%q is answered with %q: %v", request, said, err)
	}
	return r
}

func TestListAndRead(t *testing.T) {
	socket := start(t, of(&machine{serials: []string{"A", "B"}}), 0)
	list := reply(t, socket, "list\n")
	if len(list.Drives) != 2 || list.Drives[1].Name != "/dev/sdb" || list.Error != "" {
		t.Fatalf("the list is %+v", list)
	}
	if again := reply(t, socket, "list\n"); again.Generation != list.Generation {
		t.Errorf("the same drives are generation %s, then %s", list.Generation, again.Generation)
	}
	drive := reply(t, socket, list.Generation+" 1\n")
	if !bytes.Contains(drive.Report, []byte(`"serial_number":"B"`)) || drive.ExitStatus != 4 {
		t.Errorf("the second drive says %+v", drive)
	}
}

func TestHostileRequests(t *testing.T) {
	socket := start(t, of(&machine{serials: []string{"A"}}), 0)
	generation := reply(t, socket, "list\n").Generation
	for request, want := range map[string]drives.Code{
		"/dev/sda\n":                        drives.CodeRequest,
		generation + " /dev/sda\n":          drives.CodeRequest,
		generation + " ../../etc/shadow\n":  drives.CodeRequest,
		generation + " -1\n":                drives.CodeRequest,
		generation + " 1\n":                 drives.CodeRequest, // there is one drive
		generation + " 0; reboot\n":         drives.CodeRequest,
		generation + " 0\x00\n":             drives.CodeRequest,
		"\n":                                drives.CodeRequest,
		"GET / HTTP/1.1\r\n":                drives.CodeRequest,
		strings.Repeat("x", 1<<20) + "\n":   drives.CodeRequest,
		strings.Repeat("\x00", 1<<16):       drives.CodeRequest,
		"0000000000000000 0\n":              drives.CodeChanged,
		"list\nlist\n":                      "", // one request; the rest is not read
		generation + " 0\nlist --smart=off": "",
	} {
		if r := reply(t, socket, request); r.Code != want || (r.Error == "") != (want == "") {
			t.Errorf("%.40q is answered with %q %q, want %q", request, r.Code, r.Error, want)
		}
	}
	if r := reply(t, socket, generation+" 0\n"); r.Error != "" {
		t.Errorf("afterwards: %+v", r)
	}
}

// Callers that never send a request take every place, and lose it.
func TestSlowCallers(t *testing.T) {
	socket := start(t, of(&machine{serials: []string{"A"}}), 50*time.Millisecond)
	var slow []net.Conn
	for i := range 4 * maxCallers {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, _ = conn.Write([]byte("lis"))
		}
		slow = append(slow, conn)
	}
	if r := reply(t, socket, "list\n"); r.Error != "" {
		t.Errorf("behind the slow ones: %+v", r)
	}
	for _, conn := range slow {
		var r drives.Reply
		if err := json.NewDecoder(conn).Decode(&r); err != nil || r.Error != "no request came within 50ms" {
			t.Errorf("a slow one is told %+v, %v", r, err)
		}
		_ = conn.Close()
	}
}

func TestManyCallers(t *testing.T) {
	socket := start(t, of(&machine{serials: []string{"A", "B", "C"}}), 0)
	generation := reply(t, socket, "list\n").Generation
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			request := "list\n"
			if i%2 == 0 {
				request = fmt.Sprintf("%s %d\n", generation, i%3)
			}
			var r drives.Reply
			said := ask(socket, request)
			// A drive that is being asked is not asked twice.
			if err := json.Unmarshal([]byte(said), &r); err != nil || r.Error != "" && r.Code != drives.CodeBusy {
				t.Errorf("%q is answered with %q, %v", request, said, err)
			}
		})
	}
	wg.Wait()
}

func TestDriveThatHangs(t *testing.T) {
	hangs := make(chan struct{})
	socket := start(t, of(&machine{serials: []string{"A", "B"}, hangs: map[string]chan struct{}{"/dev/sda": hangs}}), 0)
	generation := reply(t, socket, "list\n").Generation
	first := make(chan string, 1)
	go func() { first <- ask(socket, generation+" 0\n") }()
	<-hangs // it is being asked
	if r := reply(t, socket, generation+" 0\n"); r.Code != drives.CodeBusy {
		t.Errorf("asked again: %+v", r)
	}
	if r := reply(t, socket, generation+" 1\n"); r.Error != "" {
		t.Errorf("the other drive: %+v", r)
	}
	reply(t, socket, "list\n")
	if r := reply(t, socket, generation+" 0\n"); r.Code != drives.CodeBusy {
		t.Errorf("asked again after a new list: %+v", r)
	}
	close(hangs)
	if said := <-first; !strings.Contains(said, `"serial_number":"A"`) {
		t.Errorf("in the end it said %s", said)
	}
}

// A drive that was put into another's place is not taken for it.
func TestDriveThatChanged(t *testing.T) {
	m := &machine{serials: []string{"A", "", "C"}}
	socket := start(t, of(m), 0)
	generation := reply(t, socket, "list\n").Generation
	m.become("A", "B", "D")
	for index, want := range []drives.Code{"", "", drives.CodeChanged, drives.CodeChanged} {
		// The second slept when it was listed; after the third the list is outdated.
		if r := reply(t, socket, fmt.Sprintf("%s %d\n", generation, index)); r.Code != want {
			t.Errorf("the drive at %d: %+v, want %q", index, r, want)
		}
	}
	if r := reply(t, socket, "list\n"); r.Generation == generation || r.Error != "" {
		t.Errorf("the new list is %+v", r)
	}
}

// The check looks again when drives change while it asks them.
func TestCheckLooksAgain(t *testing.T) {
	m := &machine{serials: []string{"A", "B"}}
	changes := sync.OnceFunc(func() { m.become("A", "C") })
	socket := start(t, func() (asker, error) { return swapping{m, changes}, nil }, 0)
	run := check(t, checks.Params{"helper": {socket}})
	if len(run.Results) != 2 || run.Results[0].Item != "A" || run.Results[1].Item != "C" || run.Results[1].Status != checks.OK {
		t.Errorf("the check gives %+v", run.Results)
	}
}

// swapping has a drive swapped between its first list and the first question.
type swapping struct {
	*machine
	changes func()
}

func (s swapping) Ask(ctx context.Context, d drives.Device) (drives.Answer, error) {
	s.changes()
	return s.machine.Ask(ctx, d)
}

func TestWhatSmartctlCannot(t *testing.T) {
	huge := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("<"), drives.MaxReply)...), `"}`...)
	many := make([]string, drives.MaxDrives+1)
	for name, tt := range map[string]struct {
		find func() (asker, error)
		code drives.Code
		want string
	}{
		"missing":  {func() (asker, error) { return nil, drives.ErrNoSmartctl }, drives.CodeNoSmartctl, "smartctl is not installed"},
		"broken":   {of(&machine{scan: errors.New("it burns")}), drives.CodeFailed, "it burns"},
		"too many": {of(&machine{serials: many}), drives.CodeFailed, "there are 513 drives; the limit is 512"},
		"too much": {of(&machine{serials: []string{"A"}, said: huge}), drives.CodeFailed, "the answer exceeds the limit of 1048576 bytes"},
		"not JSON": {of(&machine{serials: []string{"A"}, said: []byte("smartctl 7.3")}), drives.CodeFailed, "writing the answer: json: "},
	} {
		socket := start(t, tt.find, 0)
		r := reply(t, socket, "list\n")
		if r.Error == "" {
			r = reply(t, socket, r.Generation+" 0\n")
		}
		if r.Code != tt.code || !strings.Contains(r.Error, tt.want) {
			t.Errorf("%s: %q %q", name, r.Code, r.Error)
		}
	}
}

// What the check says of a helper that is not there, or not for it.
func TestCheckWithoutHelper(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: gone, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	_ = listener.Close()
	mute := filepath.Join(dir, "mute.sock")
	silent, err := net.ListenUnix("unix", &net.UnixAddr{Name: mute, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		if conn, err := silent.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	for socket, want := range map[string]string{
		gone:                             "connection refused; systemctl enable --now wacht-smart-helper.socket starts it",
		filepath.Join(dir, "never.sock"): "no such file or directory; systemctl enable --now wacht-smart-helper.socket starts it",
		mute:                             "wacht-smart-helper.service",
	} {
		_, err := (&drives.Helper{Socket: socket}).Scan(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "asking the helper at "+socket) {
			t.Errorf("%s: %v", socket, err)
		}
	}
}
