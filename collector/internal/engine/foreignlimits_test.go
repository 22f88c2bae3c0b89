package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/agent/agentpb"
	"github.com/wacht-io/wacht/collector/internal/engine"
	"github.com/wacht-io/wacht/collector/internal/rules"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

func TestHostileDeclarationsAreFindings(t *testing.T) {
	good := brewing(60)
	bare, _, _ := strings.Cut(good, "rules:")
	for says, text := range map[string]string{
		"can't be read":             strings.Replace(good, "water_celsius < 60", "water_celsius <", 1),
		"unknown metric milk":       strings.Replace(good, "water_celsius < 60", "milk < 60", 1),
		"declaration of coffee:11:": strings.Replace(good, "water_celsius < 60", "milk < 60", 1),
		`declares the check "disk"`: strings.Replace(good, "name: coffee", "name: disk", 1),
		"field colour not found":    good + "colour: brown\n",
		"at most 65536 are allowed": good + strings.Repeat("#", 64<<10),
		"anchors and aliases":       "a: &a [x]\nb: *a\n",
		"more than one document":    good + "---\n" + good,
		"not UTF-8":                 good + "# \xff\n",
		"control characters":        strings.Replace(good, "The coffee machine", `"a\u0007b"`, 1),
		"nested deeper":             "name: coffee\nsummary: " + strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"257 metrics":               bare + strings.Repeat("  - {name: m, type: gauge, unit: s, summary: s}\n", 256),
		"two metrics are called":    bare + strings.Repeat("  - {name: m, type: gauge, unit: s, summary: s}\n", 2),
		"bytes of conditions":       good + strings.Repeat("  - {name: a, title: t, warning: '1 > 0"+strings.Repeat(" ", 900)+"'}\n", 10),
		"did not find expected":     "name: [",
		"EOF":                       "",
	} {
		t.Run(says, func(t *testing.T) {
			w := newWorld(t, memstore.New())
			w.join("web1")
			g := w.visit("web1", nil, map[string]string{"coffee": text})
			g.tell("coffee", text)
			w.finding("the agent's declaration of check coffee can't be used")
			if got := w.findings("web1"); !strings.Contains(got, says) || len(got) > 700 {
				t.Errorf("%q is not in %s", says, got)
			}
			g.define("coffee", "water_celsius")
			g.measure(10)
			w.expect("acme")
			if l := w.levelOf("web1"); l != rules.Unknown {
				t.Errorf("the check is %s", l)
			}
			if got := w.visit("web1", g, g.declares).asked(); len(got) > 0 {
				t.Errorf("what was refused is asked for again: %q", got)
			}
		})
	}
}

func TestDeclarationOfAnotherDigestIsRefused(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	g := w.visit("web1", nil, map[string]string{"coffee": brewing(60)})
	g.tell("coffee", brewing(20))
	w.finding("does not have the digest that the hello named")
	// The one chance is spent, until the next hello names something else.
	g.tell("coffee", brewing(60))
	w.finding("was not asked for")
	if got := w.Declared(""); len(got) != 0 {
		t.Errorf("declared: %v", got)
	}
	again := w.visit("web1", g, map[string]string{"coffee": brewing(61)})
	if got := again.asked(); len(got) != 1 {
		t.Errorf("asked for %q", got)
	}
}

func TestFloodOfDeclarationsEndsTheStream(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	g := w.visit("web1", nil, nil)
	if err := g.Declare(t.Context(), make([]*agentpb.Declaration, 1000)); err == nil {
		t.Fatal("it was taken")
	}
}

func TestForeignChecksOfAHelloAreBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	many := make(map[string]string)
	for i := range engine.MaxForeign + 1 {
		many[fmt.Sprintf("c%d", i)] = "?"
	}
	g := w.visit("web1", nil, many)
	if got := g.asked(); len(got) != engine.MaxForeign {
		t.Errorf("asked for %d", len(got))
	}
	w.finding("more than 50 checks that are not built in")
	h := hello("web1", 7, 0, g.welcome.Visit)
	h.Checks = []*agentpb.CheckDigest{{Check: "a b", Sha256: make([]byte, 32)}, {Check: "short", Sha256: []byte{1}}}
	if _, _, err := w.Connect(t.Context(), "id-web1", h); err != nil {
		t.Fatal(err)
	}
	w.finding(`check "a b" without a valid name`)
	w.finding(`check "short" without a valid name`)
}

func TestNewDeclarationsOfADayAreBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	var g *guest
	for round := range engine.MaxNewDeclarations/engine.MaxForeign + 1 {
		many := make(map[string]string)
		for i := range engine.MaxForeign {
			many[fmt.Sprintf("c%d", i)] = fmt.Sprintf("%d", round)
		}
		g = w.visit("web1", g, many)
	}
	if got := g.asked(); len(got) != 0 {
		t.Errorf("after %d it is asked for %d more", engine.MaxNewDeclarations, len(got))
	}
	w.finding("200 new declarations in a day")
}

// fill gives a customer as many declarations as it may have, by hosts of its own.
func (w *world) fill(customer string, total int) {
	w.t.Helper()
	for n := 0; n < total; {
		name := fmt.Sprintf("fill%d", n)
		w.joinCustomer(customer, name)
		many := make(map[string]string)
		for ; n < total && len(many) < engine.MaxForeign; n++ {
			check := fmt.Sprintf("c%d", n)
			many[check] = strings.Replace(brewing(60), "name: coffee", "name: "+check, 1)
		}
		g := w.visit(name, nil, many)
		for check, text := range many {
			g.tell(check, text)
		}
	}
}

func TestDeclarationsOfACustomerAreBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.fill("acme", engine.MaxDeclarations)
	if got := len(w.Declared("acme")); got != engine.MaxDeclarations {
		t.Fatalf("%d declarations were kept", got)
	}
	w.joinCustomer("acme", "web1")
	w.joinCustomer("globex", "web2")
	g := w.brew("web1", 60, 50)
	w.finding("which is the most")
	w.expect("acme")
	w.brew("web2", 60, 50)
	w.expect("globex", "The coffee at web2 is cold")
	// What no host names any more makes room, and a host that was revoked names nothing.
	if err := w.Revoke(t.Context(), "acme", "fill0", "alice"); err != nil {
		t.Fatal(err)
	}
	g = w.visit("web1", g, g.declares)
	if got := g.asked(); len(got) != 1 {
		t.Fatalf("asked for %q", got)
	}
	g.tell("coffee", brewing(60))
	w.expect("acme", "The coffee at web1 is cold")
}

// A host can make its foreign checks come in ever other metrics, each of which is judged
// by a program of its own; what those take is bounded.
func TestMemoryOfForeignRulesIsBounded(t *testing.T) {
	w := newWorld(t, memstore.New())
	w.join("web1")
	var text strings.Builder
	text.WriteString(brewing(60))
	for i := range 60 {
		fmt.Fprintf(&text, "  - {name: r%d, title: t, warning: '%swater_celsius < 0'}\n", i, strings.Repeat("water_celsius<1||", 6))
	}
	g := w.visit("web1", nil, map[string]string{"coffee": text.String()})
	g.tell("coffee", text.String())
	d := &agentpb.Definitions{Tasks: []*agentpb.TaskDefinition{{Number: 1, Check: "coffee"}}}
	for i := range 1000 {
		d.States = append(d.States, &agentpb.StateDefinition{Number: uint32(i + 1), Task: 1, Item: fmt.Sprintf("cup %d", i), Metrics: []*agentpb.MetricDefinition{
			{Name: fmt.Sprintf("m%d", i)}, {Name: "water_celsius"},
		}})
	}
	if err := g.Define(d); err != nil {
		t.Fatal(err)
	}
	w.finding("too many different sets of metrics")
	g.measure(1, 50)
	w.expect("acme", "The coffee at web1 is cold")
}
