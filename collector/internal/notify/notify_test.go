package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

func TestRoute(t *testing.T) {
	r := NewRouter(Config{
		{Common: Common{Name: "all"}},
		{Common: Common{Name: "acme-p1", Customers: []string{"acme"}, Priorities: []string{"P1"}}},
		{Common: Common{Name: "bolt", Customers: []string{"bolt"}}},
		{Common: Common{Name: "ends", Events: []string{"resolved"}, Priorities: []string{"P1", "P2"}}},
	})
	for _, test := range []struct{ customer, priority, event, want string }{
		{"acme", "P1", "opened", "all acme-p1"},
		{"acme", "P2", "opened", "all"},
		{"bolt", "P2", "resolved", "all bolt ends"},
		{"", "P4", "resolved", "all"},
	} {
		n := told("INC-1", 1, test.event)
		n.Incident.Customer, n.Incident.Priority = test.customer, test.priority
		var got []string
		for _, d := range r.Route(time.Unix(0, 0), n) {
			got = append(got, d.Channel)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// Mail to the desk hears of problems, a pager does not, and either can be changed.
func TestRouteOfProblems(t *testing.T) {
	high := []string{"P1", "P2"}
	r := NewRouter(Config{
		{Common: Common{Name: "mail"}},
		{Common: Common{Name: "pager", Priorities: high}},
		{Common: Common{Name: "pager-all", Priorities: high, Problems: "true"}},
		{Common: Common{Name: "pager-urgent", Priorities: high, Problems: "priorities"}},
		{Common: Common{Name: "incidents", Problems: "false"}},
		{Common: Common{Name: "ends", Events: []string{"resolved", "problem-resolved"}}},
		{Common: Common{Name: "openings", Events: []string{"opened"}}},
		{Common: Common{Name: "bolt", Customers: []string{"bolt"}}},
	})
	for _, test := range []struct{ priority, event, want string }{
		{"P4", "problem-opened", "mail pager-all"},
		{"P2", "problem-opened", "mail pager-all pager-urgent"},
		{"P4", "problem-resolved", "mail pager-all ends"},
	} {
		n := decaying("PRB-1", 1, test.event)
		n.Problem.Priority = test.priority
		var got []string
		for _, d := range r.Route(time.Unix(0, 0), n) {
			got = append(got, d.Channel)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestRouteIsStable(t *testing.T) {
	r := NewRouter(Config{{Common: Common{Name: "a"}}, {Common: Common{Name: "b"}}})
	now := time.Unix(1767225600, 0)
	n := told("INC-1", 1, "opened")
	first, again, later := r.Route(now, n), r.Route(now, n), r.Route(now.Add(time.Second), n)
	if first[0].ID != again[0].ID || first[0].Key != again[0].Key {
		t.Errorf("the same notice gave %+v and %+v", first[0], again[0])
	}
	if first[0].Key == first[1].Key || first[0].ID == first[1].ID {
		t.Error("two channels got the same key or id")
	}
	if first[0].Key != later[0].Key || first[0].ID >= later[0].ID {
		t.Errorf("a second later: %+v and %+v", first[0], later[0])
	}
	if next := r.Route(now, told("INC-1", 2, "opened")); next[0].ID <= first[0].ID || next[0].Key == first[0].Key {
		t.Errorf("the next revision: %+v and %+v", first[0], next[0])
	}
	keyless, other := told("INC-1", 1, "opened"), told("INC-2", 1, "opened")
	keyless.Key, other.Key = "", ""
	if r.Route(now, keyless)[0].Key != first[0].Key || r.Route(now, other)[0].Key == first[0].Key {
		t.Error("a notice without a key did not get one of its own")
	}
	if first[0].Notice.Incident.Timeline != nil || n.Incident.Timeline == nil {
		t.Error("the delivery has the timeline, or the notice lost it")
	}
}

func TestWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := DefaultLimits()
		failures := rapid.IntRange(1, 1000).Draw(t, "failures")
		wait := l.wait(failures, rapid.Float64Range(0, 0.999).Draw(t, "jitter"))
		full := l.MaxRetry
		if failures < 11 {
			full = min(full, l.FirstRetry<<(failures-1))
		}
		if wait < full/2 || wait >= full {
			t.Fatalf("after %d failures %s, want between %s and %s", failures, wait, full/2, full)
		}
	})
}

// decode reads a configuration file as the collector does.
func decode(text string) (Config, error) {
	var file struct {
		Notify Config `yaml:"notify"`
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(&file)
	return file.Notify, err
}

func TestConfig(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := decode(fmt.Sprintf(`
notify:
  - name: ops
    type: webhook
    url: https://desk.example.net/wacht
    secret_file: %s
    customers: [acme]
    priorities: [P1, P2]
    events: [opened, resolved]
    fallback: mail
    problems: false
  - name: mail
    type: smtp
    problems: true
    host: mail.example.net
    username: wacht
    password_file: %[1]s
    from: Wacht <wacht@example.net>
    to: [desk@example.net]
`, secret))
	if err != nil {
		t.Fatal(err)
	}
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	channels, err := c.Open(notice.Env{UserAgent: "wacht"})
	if err != nil || len(channels) != 2 {
		t.Fatal(channels, err)
	}
	for _, channel := range channels {
		if err := channel.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConfigRefusesUnknownKeys(t *testing.T) {
	for text, want := range map[string]string{
		"notify:\n  - name: a\n    type: webhook\n    urls: x": "line 4: urls is no key of a channel of type webhook",
		"notify:\n  - name: a\n    type: webhook\n    host: x": "line 4: host is no key",
		"notify:\n  - name: a\n    type: smtp\n    to: x":      "line 4: cannot unmarshal",
		"notify:\n  name: a": "line 2: cannot unmarshal",
	} {
		if _, err := decode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", text, err, want)
		}
	}
}

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	c, err := decode(`
notify:
  - name: Ops!
    type: pigeon
    fallback: nobody
  - name: hook
    type: webhook
    url: http://desk.example.net
    priorities: [P9]
    events: [exploded]
    problems: sometimes
  - name: hook
    type: smtp
    tls: rot13
    port: 70000
    from: nobody
    username: wacht
  - name: quiet
    type: smtp
    problems: true
    events: [opened]
`)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, err := range c.Validate() {
		all = append(all, err.Error())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		`line 3: channel "Ops!": name: want`, `type: "pigeon" is none of smtp, webhook`, `fallback: "nobody" is not another channel`,
		`line 6: channel "hook": priorities: "P9"`, `events: "exploded"`, `problems: "sometimes" is none of true, false, priorities`, `line 18: channel "quiet": problems: true, but events names none of problem-opened`, `url: http is for private networks`, `secret_file: missing`,
		`line 12: channel "hook": name: there is another`, `tls: "rot13"`, `port: 70000`, `from:`, `to: nobody is named`,
		`password_file: username and password_file belong together`, `host: missing`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no error says %q in:\n%s", want, text)
		}
	}
}
