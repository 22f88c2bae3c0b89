package policy_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/declaration"
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
	for _, t := range p.Effective(h, nil).Tasks {
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
	e := p.Effective(host, nil)
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
	if a.Effective(host, nil).Revision != b.Effective(host, nil).Revision {
		t.Error("another customer's layer changed the revision")
	}
	if a.Effective(other, nil).Revision == b.Effective(other, nil).Revision {
		t.Error("a new interval did not change the revision")
	}
	c := load(t, `[{checks: {disk: {interval: 10s}}, rules: {disk: {space: {for: 5m}}}}]`)
	if a.Effective(host, nil).Revision != c.Effective(host, nil).Revision {
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

// foreign is a declaration as an agent brings it.
func foreign(t testing.TB, text string) rules.Declaration {
	t.Helper()
	spec := declared(t, text)[1]
	d, err := declaration.Parse(spec.Name, []byte(text), sha256.Sum256([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return d.Rules()
}

func TestPluginsDeclareTheirChecksLater(t *testing.T) {
	fsys := files(map[string]string{"a.yaml": `
- checks:
    "*": {interval: 10s}
    web/shop: {interval: 30s}
    dsik: {enabled: false}
  rules:
    web:
      slow: {critical: duration_seconds > 1}
`})
	p, err := policy.Load(fsys, declared(t), now)
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	for _, u := range p.Unknown() {
		unknown = append(unknown, u.String())
	}
	want(t, unknown,
		"a.yaml:5: no check dsik is built in; what this says counts, and is verified, once an agent declares it; or is disk meant?",
		"a.yaml:4: no check web is built in; what this says counts, and is verified, once an agent declares it",
		"a.yaml:2: no check web is built in; what this says counts, and is verified, once an agent declares it")
	if _, err := p.Book().Program(rules.Subject{Check: "web"}, nil); err == nil {
		t.Error("an undeclared check has a program")
	}
	want(t, tasks(p, host), "disk/ every 10s")
	var got []string
	for _, task := range p.Effective(host, []string{"mine", "web"}).Tasks {
		got = append(got, taskText(task))
	}
	want(t, got, "disk/ every 10s", "web/shop every 30s")
}

// webLevel is what the rules say of a web check that took so many seconds.
func webLevel(t *testing.T, b *rules.Book, customer string, seconds float64) rules.Level {
	t.Helper()
	program, err := b.Program(rules.Subject{Customer: customer, Check: "web"}, []rules.Column{{Name: "duration_seconds"}})
	if err != nil {
		t.Fatal(err)
	}
	var m rules.Machine
	program.Judge(&m, &rules.Observation{Values: []float64{seconds}, Received: now}, nil)
	return m.Level()
}

func TestLayersChangeWhatAgentsDeclare(t *testing.T) {
	p, err := policy.Load(files(map[string]string{"a.yaml": `
- match: {customer: acme}
  checks:
    web/shop: {params: {retries: 9}}
  rules:
    web:
      slow: {critical: duration_seconds > 1, warning: speed > 3}
      failed: {runs: 5}
      failde: {runs: 5}
      tiny: {title: tiny, critical: duration_seconds < 0.1}
- match: {customer: acme}
  reason: a trial
  until: 2026-03-01
  rules: {web: {slow: {critical: ""}}}
- match: {customer: acme, item: /shop}
  rules: {web: {slow: {critical: duration_seconds > 0.5}}}
- match: {customer: globex}
  rules: {web: {slow: {critical: speed > 3}}}
`}), declared(t), now)
	if err != nil {
		t.Fatal(err)
	}
	acme, unfit, err := p.Foreign("acme", foreign(t, webSpec))
	if err != nil {
		t.Fatal(err)
	}
	want(t, unfit,
		"a.yaml:4: parameter retries of web: 9 is above the maximum of 5",
		`a.yaml:7: rule slow of web, warning: "speed > 3": unknown metric speed; check web has: duration_seconds`,
		"a.yaml:9: check web has no rule failde (it has: failed, slow); for a new one, give title and warning, critical or vanished")
	for seconds, wanted := range map[float64]rules.Level{0.05: rules.Critical, 1.5: rules.OK, 3: rules.Warning, 6: rules.Critical} {
		if got := webLevel(t, acme, "acme", seconds); got != wanted {
			t.Errorf("%g s at acme is %s", seconds, got)
		}
	}
	other, unfit, err := p.Foreign("initech", foreign(t, webSpec))
	if err != nil || len(unfit) > 0 {
		t.Fatalf("%q %v", unfit, err)
	}
	if got := webLevel(t, other, "initech", 0.05); got != rules.OK {
		t.Errorf("acme's rule holds for initech: %s", got)
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
