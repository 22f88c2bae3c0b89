package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wacht-io/wacht/collector/internal/inventory"
	"github.com/wacht-io/wacht/collector/internal/policy"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	cases := []struct{ text, want string }{
		{"- checks: [", "p.yaml:1: did not find expected node content"},
		{"checks: {}", "p.yaml:1: the file is a group of keys; it is a list, each entry starting with a dash"},
		{"- 5", `p.yaml:1: a layer is "5"; it is a group of keys, each with a value`},
		{"- {}", "p.yaml:1: a layer that changes nothing; give it checks, rules or forecasts"},
		{"- check: {}", "p.yaml:1: a layer has no key check; use checks, forecasts, match, reason, rules, until"},
		{"- &a {checks: {}}\n- *a", "p.yaml:2: a layer is an alias (write the value out)"},
		{"- checks: {}\n---\n- checks: {}", "a second document; put all layers in one list"},
		{"- match: {custmer: acme}\n  checks: {}", "p.yaml:1: match has no key custmer; use customer, host, item, labels, role, site"},
		{"- match: {customer: []}\n  checks: {}", "p.yaml:1: customer in match is empty; leave it out to match every customer"},
		{"- match: {role: laptop}\n  checks: {}", `p.yaml:1: role "laptop": use server or workstation`},
		{"- match: {item: /var}\n  checks: {disk: {interval: 10s}}", "p.yaml:2: checks are set for hosts"},
		{"- until: tomorrow\n  reason: r\n  checks: {}", `p.yaml:1: until: "tomorrow" is no date such as 2026-03-31`},
		{"- until: 2026-03-31\n  checks: {}", "p.yaml:1: a layer with until has no reason"},
		{"- checks:\n    disk: {interval: fast}", `p.yaml:2: interval: "fast" is not a duration such as 90s, 10m, 24h or 30d`},
		{"- checks:\n    disk: {interval: 10ms}", "p.yaml:2: interval: 10ms is not between 1s and 30d"},
		{"- checks:\n    disk: {timeout: 2h}", "p.yaml:2: timeout: 2h0m0s is not between 1ms and 1h0m0s"},
		{"- checks:\n    disk: {enabled: yes}", `p.yaml:2: enabled: "yes" is neither true nor false`},
		{"- checks:\n    disk: {interval: 10s, interval: 20s}", "p.yaml:2: check disk: interval is given twice, first at line 2"},
		{"- checks:\n    disk: {interval: [10s]}", `p.yaml:2: interval is a list; it takes one value ("" is none)`},
		{"- checks:\n    disk: {interval: }", `p.yaml:2: interval is empty; it takes one value`},
		{"- checks:\n    disk/: {interval: 10s}", `p.yaml:2: "disk/" is no check`},
		{"- checks:\n    \"*\": {params: {exclude: /mnt}}", `p.yaml:2: "*" has no params`},
		{"- checks:\n    disk:\n      params: {exlude: /mnt}", `p.yaml:3: disk has no parameter "exlude" (it has: exclude`},
		{"- checks:\n    disk:\n      params: {exclude: mnt}", `p.yaml:3: parameter exclude of disk: "mnt" is not an absolute path`},
		{"- checks:\n    web/a: {params: {retries: 9}}", `p.yaml:2: parameter retries of web: 9 is above the maximum of 5`},
		{"- checks:\n    web/a: {params: {token_file: /etc/t}}", "p.yaml:2: parameter token_file of web is set in the machine's own file only"},
		{"- rules: {disk: {space: {critical: fre_bytes < 1}}}", `p.yaml:1: rule space of disk, critical: "fre_bytes < 1": unknown metric fre_bytes; check disk has: size_bytes, free_bytes`},
		{"- rules: {disk: {space: {critcal: free_bytes < 1}}}", "p.yaml:1: space of disk has no key critcal; use category, clear, clear_for, critical"},
		{"- rules: {disk: {spcae: {critical: free_bytes < 1}}}", "p.yaml:1: check disk has no rule spcae (it has: "},
		{"- rules: {disk: {space: {runs: two}}}", `p.yaml:1: space of disk, runs: "two" is not a whole number`},
		{"- rules: {disk: {space: {disabled: true}}}", "p.yaml:1: space of disk is disabled without a reason; add reason"},
		{"- match: {host: h1}\n  rules: {disk: {space: {disabled: true, reason: r}}}", "p.yaml:2: space of disk is disabled for host h1 without an end; add until"},
		{"- rules: {disk: {space: {disabled: true, reason: ''}}}", "say why, for those who come after"},
		{"- forecasts: {disk: {full: {limit: .nan}}}", `p.yaml:1: full of disk, limit: ".nan" is not a number`},
		{"- forecasts: {disk: {full: {confidence: 80}}}", "p.yaml:1: forecast full of disk, confidence: confidence is 80; use 0 to 1"},
		{"- forecasts: {disk: {later: {within: 5d}}}", "check disk has no forecast later"},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			_, err := policy.Load(files(map[string]string{"p.yaml": c.text}), declared(t, webSpec), now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := policy.Load(files(map[string]string{
		"a.yaml": "- checks:\n    disk: {interval: fast}\n  rules:\n    disk:\n      space: {warning: x > 1, clear: y > 1}\n",
		"b.yaml": "- chekcs: {}\n",
	}), declared(t), now)
	if err == nil {
		t.Fatal("no error")
	}
	for _, place := range []string{"a.yaml:2: ", "a.yaml:5: rule space of disk, clear", "a.yaml:5: rule space of disk, warning", "b.yaml:1: "} {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("%s is not in\n%v", place, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("- match: {customer: [a, 'b*'], labels: {x: y}, role: server}\n  checks: {'*': {interval: 10s}, web/a: {params: {url: u}}}\n")
	f.Add("- match: {item: /}\n  reason: r\n  until: 2026-03-31\n  rules: {disk: {space: {critical: free_bytes < 1, disabled: true}}}\n")
	f.Add("- forecasts: {disk: {full: {within: 14d, limit: 1e9}}}\n")
	f.Add("- &a [*a]\n")
	specs := declared(f, webSpec)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Load(fstest.MapFS{"p.yaml": {Data: []byte(text)}}, specs, now)
		if err != nil {
			return
		}
		h := inventory.Host{ID: "h1", Name: "h", Customer: "a", Labels: map[string]string{"x": "y"}, Role: inventory.Server}
		if e := p.Effective(h, nil); e.Revision == 0 || e.Revision != p.Effective(h, nil).Revision {
			t.Errorf("revision %d, then %d", e.Revision, p.Effective(h, nil).Revision)
		}
		s := rules.Subject{Customer: "a", Host: "h", Check: "disk", Item: "/", Role: "server"}
		p.Origins(s)
		if _, err := p.Book().Program(s, columns); err != nil {
			t.Error(err)
		}
		if next := p.NextChange(); !next.IsZero() {
			p.At(next)
		}
	})
}
