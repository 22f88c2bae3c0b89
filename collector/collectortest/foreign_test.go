package collectortest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wacht-io/wacht/agent/fleet"
	"github.com/wacht-io/wacht/checks/checkpb"
	"github.com/wacht-io/wacht/collector/collectortest"
	"github.com/wacht-io/wacht/collector/internal/admin"
)

// coffee declares a check that no collector knows, as a plugin brings it.
func coffee(celsius int) []byte {
	return fmt.Appendf(nil, `name: coffee
summary: The coffee machine
interval: 60s
timeout: 10s
systems: [linux]
metrics:
  - {name: water_celsius, type: gauge, unit: celsius, summary: How hot the water is}
rules:
  - {name: cold, title: "The coffee at {{host}} is cold", critical: water_celsius < %d}
`, celsius)
}

// twoCustomers starts an agent at each of two customers, whose plugins of one name
// differ.
func twoCustomers(t *testing.T, p *collectortest.Process) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Options{
		Agents: 2, Address: p.AgentsAddr, Dir: t.TempDir(),
		Token: func(ctx context.Context, agent int) (string, error) {
			return p.Token(ctx, []string{"acme", "globex"}[agent], "lab", 1)
		},
		Declarations: func(agent int) map[string][]byte {
			return map[string][]byte{"coffee": coffee([]int{60, 40}[agent])}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, f.Join, f.Start)
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// brew reports the same temperature at both.
func brew(t *testing.T, f *fleet.Fleet, celsius float64) {
	t.Helper()
	for _, a := range f.Agents() {
		_, err := a.Append(&checkpb.Run{
			Check: "coffee", PlannedMs: time.Now().UnixMilli(), Complete: true, NextWithinMs: 60_000,
			Results: []*checkpb.Result{{Summary: "brewed", Metrics: []*checkpb.Metric{{Name: "water_celsius", Value: celsius}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	within(t, f.WaitDecided)
}

// cold waits until the open incidents are those of some customers.
func cold(t *testing.T, c collectortest.Client, customers ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		all, err := c.Incidents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var open []string
		for _, in := range all {
			if in.State == "open" && strings.HasSuffix(in.Title, "is cold") {
				open = append(open, in.Customer)
			}
		}
		slices.Sort(open)
		if slices.Equal(open, customers) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("open at %q, not at %q", open, customers)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func page(t *testing.T, c collectortest.Client, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + c.WebAddr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}

// Agents with checks that the collector never saw are judged by what they declare, each
// customer's by its own, also after the collector was killed; and policy changes it.
func TestForeignChecksOfAgents(t *testing.T) {
	policy := t.TempDir()
	layer := func(text string) {
		if err := os.WriteFile(filepath.Join(policy, "msp.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	layer("- rules: {coffee: {cold: {runs: 1}}}\n")
	p := collectortest.Spawn(t, collectortest.Options{Config: "policy_dir: " + policy + "\n"})
	f := twoCustomers(t, p)
	brew(t, f, 50)
	cold(t, p.Client, "acme")

	host := f.Agents()[0].HostID()
	for _, line := range []string{
		"# HELP wacht_coffee_water_celsius How hot the water is", `wacht_coffee_water_celsius{check="coffee",customer="acme"`,
	} {
		if body := page(t, p.Client, "/metrics/hosts/"+host); !strings.Contains(body, line) {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
	h, err := p.Host(t.Context(), host)
	if err != nil || h.Checks[0].Metrics[0].Unit != "celsius" {
		t.Errorf("the API shows %+v, %v", h.Checks, err)
	}

	p.Kill()
	p.Restart()
	within(t, f.WaitConnected)
	brew(t, f, 70)
	cold(t, p.Client)
	brew(t, f, 30)
	cold(t, p.Client, "acme", "globex")

	layer("- rules: {coffee: {cold: {critical: water_celsius < 20}}}\n")
	orders, running := admin.Dial(t.Context(), p.DataDir)
	if !running {
		t.Fatal("the collector does not run")
	}
	text, err := orders.ReloadPolicy(t.Context())
	if err != nil || strings.Contains(text, "note:") {
		t.Fatalf("%s %v", text, err)
	}
	brew(t, f, 30)
	cold(t, p.Client)

	layer("- rules: {coffee: {cold: {critical: milk < 20}}}\n- rules: {tea: {cold: {runs: 3}}}\n")
	text, err = orders.ReloadPolicy(t.Context())
	for _, note := range []string{
		`customer acme, check coffee: msp.yaml:1: rule cold of coffee, critical: "milk < 20": unknown metric milk`,
		"msp.yaml:2: no check tea is built in",
	} {
		if err != nil || !strings.Contains(text, note) {
			t.Errorf("no note %q in\n%s\n%v", note, text, err)
		}
	}
	layer("- rules: {dsik: {space: {runs: 3}}}\n")
	if _, err = orders.ReloadPolicy(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no check dsik, and no agent has one; disk is meant, probably") {
		t.Errorf("got %v", err)
	}
}
