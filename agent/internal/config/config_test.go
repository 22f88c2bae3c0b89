package config

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
)

func specs(t *testing.T) []*checks.Spec {
	t.Helper()
	var out []*checks.Spec
	for _, text := range []string{`
name: disk
summary: s
interval: 60s
timeout: 10s
systems: [linux]
parameters:
  - {name: exclude, summary: s, type: string, list: true}
  - {name: slow, summary: s, type: duration, default: [1s], min: 0.1, max: 10}
`, `
name: http
summary: s
interval: 60s
timeout: 10s
systems: [linux]
parameters:
  - {name: url, summary: s, type: string, required: true}
  - {name: secret, summary: s, type: string, local: true}
`, `
name: registry
summary: s
interval: 60s
timeout: 10s
systems: [windows]
`} {
		s, err := checks.ParseSpec([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

type fake struct{ spec *checks.Spec }

func (f fake) Spec() *checks.Spec { return f.spec }

func (fake) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

func (fake) Run(context.Context, *checks.Env) (checks.Run, error) { return checks.Run{}, nil }

func TestParse(t *testing.T) {
	base := "/srv"
	if runtime.GOOS == "windows" {
		base = "C:/srv"
	}
	c, err := Parse("agent.yaml", []byte(`
collector: msp.example.net
state_dir: `+base+`/wacht
secrets_dir: `+base+`/secrets
role: workstation
evidence: false
spool: {max_bytes: 64MiB, memory_bytes: 1048576}
plugin_dir: /srv/plugins
plugins:
  queue: {sha256: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f, user: mail, secrets: [token], memory: 64MiB}
forbid: [http/webshop, registry]
checks:
  disk: {exclude: [/mnt/a, /mnt/b], slow: 2s}
  http/intranet:
    url: https://intranet.example.net
`), &Known{Specs: specs(t)})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Collector: "msp.example.net:7421", StateDir: base + "/wacht", SecretsDir: base + "/secrets",
		Role: agentpb.Role_WORKSTATION, SpoolBytes: 64 << 20, SpoolMemory: 1 << 20,
		Forbid: []string{"http/webshop", "registry"},
		Local: map[string]checks.Params{
			"disk":          {"exclude": {"/mnt/a", "/mnt/b"}, "slow": {"2s"}},
			"http/intranet": {"url": {"https://intranet.example.net"}},
		},
		PluginDir: "/srv/plugins",
		Plugins:   []Plugin{{Name: "queue", SHA256: counted(), User: "mail", Secrets: []string{"token"}, Memory: 64 << 20, Line: 10}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Parse gave %+v", c)
	}
}

func TestParseErrorsNameTheLine(t *testing.T) {
	_, err := Parse("agent.yaml", []byte(`collector: https://msp.example.net
role: laptop
spool:
  max_bytes: 12
forbid:
  - disk
  - dsik
checks:
  disk:
    slow: 1h
    bogus: 1
state_dir: var/lib
`), &Known{Specs: specs(t)})
	for _, want := range []string{
		`agent.yaml:1: collector: `,
		`agent.yaml:2: "laptop" is not a role: use server or workstation`,
		`agent.yaml:4: 12 bytes are too few`,
		`agent.yaml:7: there is no check "dsik"; there are: disk, http, registry`,
		`agent.yaml:9: disk has no parameter "bogus"`,
		`agent.yaml:12: "var/lib" is not an absolute path`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		"a: 1\ncolector: x\n":                    "agent.yaml:1: field a not found\nagent.yaml:2: field colector not found",
		"spool: {max_bytes: many}":               `agent.yaml:1: "many" is not a size such as 256MiB`,
		"evidence: perhaps":                      "agent.yaml:1: cannot unmarshal !!str `perhaps`",
		"collector: [":                           "agent.yaml:1: ",
		"spool: {max_bytes: 99999999999999GiB}":  "is too large",
		"checks: {disk: {exclude: {a: b}}}":      "agent.yaml:1: ",
		"checks: {\"http/\": {url: x}}":          "agent.yaml:1: an instance's name is empty",
		"collector: msp.example.net:http":        `"http" in "msp.example.net:http" is not a port`,
		"checks: {disk: {slow: 3s}, disk: null}": "agent.yaml:1: ",
		"plugins: {queue: {}}":                   "plugin queue needs its sha256, 64 hexadecimal digits: wacht-agent plugin allow writes it",
		"plugins: {queue: {sha256: 00}}":         "plugin queue needs its sha256",
		"plugins: {Queue: {}}":                   `"Queue" is no name of a check`,
		"plugins: {queue: {memory: 1MiB}}":       "1048576 bytes are too few",
		"plugins: {queue: {secrets: [../x]}}":    `"../x" is no name of a secret`,
		"plugin_dir: lib":                        "not an absolute path",
	} {
		if _, err := Parse("agent.yaml", []byte(text), &Known{Specs: specs(t)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in: %v", text, want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("collector: a:1\nchecks: {disk: {slow: 1s}}")
	spec, _ := checks.ParseSpec([]byte("{name: disk, summary: s, interval: 1s, timeout: 1s, parameters: [{name: slow, summary: s, type: duration}]}"))
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Parse("f", []byte(text), &Known{Specs: []*checks.Spec{spec}}) })
}

func TestLoadWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if c, err := Load(path, false, nil); err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("Load = %+v, %v", c, err)
	}
	if _, err := Load(path, true, nil); err == nil {
		t.Error("a named file that does not exist was accepted")
	}
}

func effective(t *testing.T, conf *Config, policy *agentpb.Policy) ([]Task, map[string]string, []error) {
	t.Helper()
	in := Input{
		Config: conf, Policy: policy, OS: "linux",
		Discovered: map[string][]checks.Instance{"disk": {{Params: checks.Params{"exclude": {"/cdrom"}}}}},
	}
	for _, s := range specs(t) {
		in.Checks = append(in.Checks, fake{s})
	}
	tasks, answers, problems := Effective(in)
	reasons := map[string]string{}
	for _, a := range answers {
		if a.GetApplied() != (a.GetReason() == "") {
			t.Errorf("the answer %v contradicts itself", a)
		}
		reasons[taskName(a.GetCheck(), a.GetInstance())] = a.GetReason()
	}
	return tasks, reasons, problems
}

func names(tasks []Task) string {
	var out []string
	for i := range tasks {
		out = append(out, tasks[i].Name())
	}
	return strings.Join(out, " ")
}

func param(name string, values ...string) *agentpb.Param {
	return &agentpb.Param{Name: name, Values: values}
}

func TestEffective(t *testing.T) {
	tasks, _, problems := effective(t, Default(), nil)
	if names(tasks) != "disk" || len(problems) != 0 || tasks[0].Interval != time.Minute || tasks[0].Params.String("exclude") != "/cdrom" {
		t.Errorf("without policy: %+v, %v", tasks, problems)
	}

	conf := Default()
	conf.Forbid = []string{"http/webshop"}
	conf.Local = map[string]checks.Params{"disk": {"exclude": {"/mnt"}}, "http/shop": {"secret": {"shop"}}}
	tasks, reasons, problems := effective(t, conf, &agentpb.Policy{Tasks: []*agentpb.Task{
		{Check: "disk", IntervalMs: 10_000, Params: []*agentpb.Param{param("slow", "2s")}},
		{Check: "http", Instance: "shop", TimeoutMs: 2000, Params: []*agentpb.Param{param("url", "https://shop.example.net")}},
		{Check: "http", Instance: "webshop", Params: []*agentpb.Param{param("url", "https://shop.example.net")}},
		{Check: "http", Instance: "stolen", Params: []*agentpb.Param{param("url", "x"), param("secret", "shop")}},
		{Check: "http", Instance: "empty"},
		{Check: "http", Instance: "shop"},
		{Check: "http", Instance: "tab\t"},
		{Check: "registry"},
		{Check: "rootkit"},
		{Check: "disk", Instance: "fast", IntervalMs: 10},
		{Check: "disk", Instance: "wrong", Params: []*agentpb.Param{param("slow", "1h")}},
		{Check: "disk", Instance: "twice", Params: []*agentpb.Param{param("slow", "1s"), param("slow", "1s")}},
		{Check: "disk", Instance: "long", TimeoutMs: 1 << 62},
	}})
	if names(tasks) != "disk http/shop" || len(problems) != 1 {
		t.Errorf("tasks %s, problems %v", names(tasks), problems)
	}
	if d := tasks[0]; d.Interval != 10*time.Second || d.Params.String("slow") != "2s" || d.Params.String("exclude") != "/mnt" {
		t.Errorf("disk: %+v", d)
	}
	if h := tasks[1]; h.Timeout != 2*time.Second || h.Params.String("secret") != "shop" {
		t.Errorf("http/shop: %+v", h)
	}
	for name, want := range map[string]string{
		"disk": "", "http/webshop": "own file forbids", "http/stolen": "machine's own file only",
		"http/empty": "a value is required", "http/shop": "twice", "registry": "does not work on linux",
		"rootkit": "does not have the check", "disk/fast": "interval", "disk/wrong": "above the maximum",
		"disk/twice": "parameter twice", "http/tab\t": "can't be shown", "disk/long": "timeout",
	} {
		if reason := reasons[name]; !strings.Contains(reason, want) || (want == "") != (reason == "") {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

func TestPolicyDisables(t *testing.T) {
	tasks, _, _ := effective(t, Default(), &agentpb.Policy{Tasks: []*agentpb.Task{
		{Check: "disk", Disabled: true},
		{Check: "disk", Instance: "chosen"},
	}})
	if names(tasks) != "disk/chosen" {
		t.Errorf("tasks: %s", names(tasks))
	}
	conf := Default()
	conf.Forbid = []string{"disk"}
	if tasks, _, _ := effective(t, conf, nil); len(tasks) != 0 {
		t.Errorf("a forbidden check runs: %s", names(tasks))
	}
}

func TestSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes mean nothing there
	}
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("hunter2\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("mail", 0o600)
	write("open", 0o644)
	s := Secrets{dir}
	if got, err := s.Secret("mail"); err != nil || got.Reveal() != "hunter2" {
		t.Errorf("Secret(mail): %v, %v", got, err)
	}
	for _, name := range []string{"open", "absent", "../mail", "", ".", "a/b"} {
		if got, err := s.Secret(name); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Secret(%q): %v, %v", name, got, err)
		}
	}
}
