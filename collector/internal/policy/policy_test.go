package policy_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

var now = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// webSpec is a declaration that is not built in.
const webSpec = `name: web
summary: A check for tests
item: address
interval: 60s
timeout: 20s
systems: [linux, windows]
parameters:
  - {name: url, type: string, summary: what to get, required: true}
  - {name: retries, type: int, summary: how often, min: 0, max: 5, default: ["1"]}
  - {name: token_file, type: path, summary: where the token is, local: true}
metrics:
  - {name: duration_seconds, type: gauge, unit: seconds, summary: time taken}
rules:
  - {name: failed, title: "{{item}} fails", critical: status == "critical", runs: 2}
  - {name: slow, title: "{{item}} is slow", warning: duration_seconds > 2, critical: duration_seconds > 5}
`

func declared(t testing.TB, texts ...string) []*checks.Spec {
	t.Helper()
	disk, err := checks.Declaration("disk")
	if err != nil {
		t.Fatal(err)
	}
	specs := []*checks.Spec{disk}
	for _, text := range texts {
		s, err := checks.ParseSpec([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	return specs
}

func files(texts map[string]string) fstest.MapFS {
	fsys := make(fstest.MapFS)
	for name, text := range texts {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Load(files(map[string]string{"msp.yaml": text}), declared(t, webSpec), now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var host = inventory.Host{
	ID: "h1", Customer: "acme", Site: "hq", Name: "web1.example.org", Role: inventory.Server, OS: "linux",
	Labels: map[string]string{"tier": "gold"},
}

func taskText(t *agentpb.Task) string {
	parts := []string{t.Check + "/" + t.Instance}
	if t.Disabled {
		parts = append(parts, "off")
	}
	if t.IntervalMs > 0 {
		parts = append(parts, "every "+(time.Duration(t.IntervalMs)*time.Millisecond).String())
	}
	if t.TimeoutMs > 0 {
		parts = append(parts, "within "+(time.Duration(t.TimeoutMs)*time.Millisecond).String())
	}
	for _, p := range t.Params {
		parts = append(parts, p.Name+"="+strings.Join(p.Values, ","))
	}
	return strings.Join(parts, " ")
}

func tasks(p *policy.Policy, h inventory.Host) []string {
	var out []string
	for _, t := range p.Effective(h).Tasks {
		out = append(out, taskText(t))
	}
	return out
}

func want(t *testing.T, got []string, wanted ...string) {
	t.Helper()
	if !slices.Equal(got, wanted) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(wanted, "\n  "))
	}
}

// TestBuiltInDeclarationsCompile: every rule that ships reads metrics that exist.
func TestBuiltInDeclarationsCompile(t *testing.T) {
	specs, err := checks.Declarations()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(nil, specs, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		program, err := p.Book().Program(rules.Subject{Check: s.Name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, wanted := len(program.Explain(new(rules.Machine))), len(s.Rules)+len(s.Forecasts); got != wanted {
			t.Errorf("%s has %d rules and forecasts, of which %d are judged", s.Name, wanted, got)
		}
	}
}

func TestNoLayers(t *testing.T) {
	p, err := policy.Load(nil, declared(t), now)
	if err != nil {
		t.Fatal(err)
	}
	e := p.Effective(host)
	if len(e.Tasks) > 0 || e.Revision == 0 || !p.NextChange().IsZero() {
		t.Errorf("%v, next change %s", e, p.NextChange())
	}
}

func TestHigherLayersHaveTheLastWord(t *testing.T) {
	p := load(t, `
- match: {host: web1.*}
  checks:
    web/shop: {timeout: 5s}
- match: {labels: {tier: [silver, gold]}}
  checks:
    web: {params: {retries: 3}}
- match: {customer: acme, site: hq}
  checks:
    disk: {interval: 5m}
- match: {customer: acme}
  checks:
    disk: {interval: 2m, params: {exclude: [/mnt, /srv]}}
    web/shop: {params: {url: "https://shop.example.org"}}
- checks:
    "*": {interval: 10s}
    disk: {enabled: false}
- match: {customer: other}
  checks:
    disk: {interval: 1h}
- match: {role: workstation}
  checks:
    disk: {interval: 2h}
`)
	want(t, tasks(p, host),
		"disk/ off every 5m0s exclude=/mnt,/srv",
		"web/ every 10s retries=3",
		"web/shop every 10s within 5s retries=3 url=https://shop.example.org")
}

func TestTasksSuitTheHost(t *testing.T) {
	p := load(t, `[{checks: {"*": {interval: 10s}}}]`)
	mac := host
	mac.OS = "darwin"
	want(t, tasks(p, mac), "disk/ every 10s")
	mac.OS = ""
	want(t, tasks(p, mac), "disk/ every 10s", "web/ every 10s")
}

func TestRevisionFollowsTheHostsOwnConfiguration(t *testing.T) {
	other := host
	other.Customer = "other"
	a := load(t, `[{checks: {disk: {interval: 10s}}}]`)
	b := load(t, `[{checks: {disk: {interval: 10s}}}, {match: {customer: other}, checks: {disk: {interval: 20s}}}]`)
	if a.Effective(host).Revision != b.Effective(host).Revision {
		t.Error("another customer's layer changed the revision")
	}
	if a.Effective(other).Revision == b.Effective(other).Revision {
		t.Error("a new interval did not change the revision")
	}
	c := load(t, `[{checks: {disk: {interval: 10s}}, rules: {disk: {space: {for: 5m}}}}]`)
	if a.Effective(host).Revision != c.Effective(host).Revision {
		t.Error("a rule changed what the agent does")
	}
}

func subject(item string) rules.Subject {
	return rules.Subject{
		Customer: host.Customer, Site: host.Site, Host: host.Name, HostID: host.ID, Role: string(host.Role),
		Labels: host.Labels, Check: "disk", Item: item,
	}
}

var columns = []rules.Column{{Name: "size_bytes"}, {Name: "free_bytes"}}

// level is what the policy says of a filesystem of 100 GiB.
func level(t *testing.T, p *policy.Policy, item string, freeGiB float64) rules.Level {
	t.Helper()
	program, err := p.Book().Program(subject(item), columns)
	if err != nil {
		t.Fatal(err)
	}
	var m rules.Machine
	o := rules.Observation{Values: []float64{100 << 30, freeGiB * (1 << 30)}, Received: now}
	program.Judge(&m, &o, nil)
	return m.Level()
}

func TestRulesAreChangedForWhatMatches(t *testing.T) {
	p := load(t, `
- match: {customer: acme}
  rules:
    disk:
      space: {critical: free_bytes < 50 * GiB}
- match: {item: /mnt/*}
  rules:
    disk:
      space: {critical: "", warning: free_bytes < 60 * GiB}
      tiny: {title: "{{item}} is tiny", critical: size_bytes < 10 * GiB}
`)
	if got := level(t, p, "/var", 40); got != rules.Critical {
		t.Errorf("/var is %s", got)
	}
	if got := level(t, p, "/mnt/a", 40); got != rules.Warning {
		t.Errorf("/mnt/a is %s", got)
	}
	program, err := p.Book().Program(subject("/mnt/a"), columns)
	if err != nil {
		t.Fatal(err)
	}
	if r := program.Rule("tiny"); r.Title != "{{item}} is tiny" {
		t.Errorf("%+v", r)
	}
}

func TestExemptionEnds(t *testing.T) {
	p := load(t, `
- match: {host: h1}
  reason: being cleaned up
  until: 2026-03-02
  rules:
    disk:
      space: {disabled: true}
- match: {host: h1}
  rules:
    disk:
      inodes: {disabled: true, reason: a mail spool, until: "2026-03-02T12:00:00Z"}
- match: {customer: acme}
  reason: a trial
  until: 2026-03-01
  checks:
    disk: {interval: 1s}
`)
	if got := level(t, p, "/var", 1); got != rules.OK {
		t.Errorf("exempt, but %s", got)
	}
	if got := p.NextChange(); !got.Equal(now.Add(4 * time.Hour)) {
		t.Errorf("next change %s", got)
	}
	noon := p.At(p.NextChange())
	midnight := noon.At(noon.NextChange())
	if got := midnight.NextChange(); !got.IsZero() {
		t.Errorf("then %s", got)
	}
	if got := level(t, noon, "/var", 1); got != rules.OK {
		t.Errorf("still exempt, but %s", got)
	}
	if got := level(t, midnight, "/var", 1); got != rules.Critical {
		t.Errorf("no longer exempt, but %s", got)
	}
	want(t, tasks(p, host))
	want(t, p.Notices(), "msp.yaml:12: this layer ended at 2026-03-02T00:00:00Z; it can be removed")
}

func TestOriginsOfEachValue(t *testing.T) {
	p := load(t, `- checks:
    "*": {interval: 10s}
- match: {customer: acme}
  rules:
    disk:
      space:
        for: 10m
- match: {item: /var}
  reason: cleaned up nightly
  until: 2026-03-31
  rules:
    disk:
      inodes: {disabled: true}
`)
	found := make(map[string]string)
	for _, s := range p.Origins(subject("/var")) {
		found[s.Path] = s.Value + " from " + s.Origin.Layer + " " + s.Origin.String()
		if s.Path == "rules.disk.inodes.disabled" && (s.Origin.Reason != "cleaned up nightly" || s.Origin.Until.IsZero()) {
			t.Errorf("%+v", s.Origin)
		}
	}
	for path, wanted := range map[string]string{
		"checks.disk.interval":       "10s from msp msp.yaml:2",
		"checks.disk.timeout":        "20s from default checks/disk/check.yaml",
		"rules.disk.space.for":       "10m0s from customer msp.yaml:7",
		"rules.disk.inodes.disabled": "true from item msp.yaml:13",
	} {
		if found[path] != wanted {
			t.Errorf("%s = %s, want %s", path, found[path], wanted)
		}
	}
	if got := found["rules.disk.space.clear"]; !strings.Contains(got, "from default checks/disk/check.yaml:") {
		t.Errorf("clear: %s", got)
	}
}

func TestPluginsDeclareTheirChecksLater(t *testing.T) {
	fsys := files(map[string]string{"a.yaml": `
- checks:
    "*": {interval: 10s}
    web/shop: {interval: 30s}
  rules:
    web:
      slow: {critical: duration_seconds > 1}
`})
	p, err := policy.Load(fsys, declared(t), now)
	if err != nil {
		t.Fatal(err)
	}
	want(t, p.Notices(),
		"a.yaml:4: no check web is known yet; this counts once an agent declares it",
		"a.yaml:2: no check web is known yet; this counts once an agent declares it")
	if _, err := p.Book().Program(rules.Subject{Check: "web"}, nil); err == nil {
		t.Error("an undeclared check has a program")
	}
	web := declared(t, webSpec)[1:]
	with, err := p.WithDeclarations(web)
	if err != nil {
		t.Fatal(err)
	}
	want(t, tasks(with, host), "disk/ every 10s", "web/shop every 30s")
	if len(with.Notices()) > 0 {
		t.Errorf("%q", with.Notices())
	}
	if _, err := with.Book().Program(rules.Subject{Check: "web"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := with.WithDeclarations(declared(t)); err == nil {
		t.Error("a built-in check was replaced")
	}
	web[0].Metrics = nil
	if _, err := p.WithDeclarations(web); err == nil || !strings.Contains(err.Error(), "check web has none") {
		t.Errorf("a declaration with a broken rule: %v", err)
	}
}

func TestLayersAreSummarised(t *testing.T) {
	p := load(t, `
- match: {host: h1}
  reason: a trial
  until: 2026-03-31
  rules: {disk: {space: {for: 1m}, inodes: {for: 1m}}}
- checks: {"*": {interval: 10s}}
`)
	var got []string
	for _, l := range p.Layers() {
		got = append(got, l.String())
	}
	want(t, got,
		"msp.yaml:6: msp layer for everything: 1 checks, 0 rules, 0 forecasts",
		"msp.yaml:2: host layer for host h1: 0 checks, 2 rules, 0 forecasts, until 2026-04-01T00:00:00Z (a trial)")
}
