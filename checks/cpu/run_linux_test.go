package cpu_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/cpu"
	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// proc is a /proc that a test writes.
type proc struct {
	t    *testing.T
	root string
}

func newProc(t *testing.T) proc {
	p := proc{t, t.TempDir()}
	if err := os.MkdirAll(filepath.Join(p.root, "proc", "pressure"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p proc) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.root, "proc", name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p proc) context() context.Context { return hostfs.WithRoot(p.t.Context(), p.root) }

func (p proc) run(last any) (checks.Run, map[string]float64) {
	p.t.Helper()
	c := cpu.New()
	run, err := c.Run(p.context(), &checks.Env{Last: last})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.Spec().Validate(&run); err != nil {
		p.t.Fatal(err)
	}
	figures := make(map[string]float64)
	for _, m := range run.Results[0].Metrics {
		var name strings.Builder
		name.WriteString(m.Name)
		for _, l := range m.Labels {
			name.WriteString("," + l.Value)
		}
		figures[name.String()] = m.Value
	}
	return run, figures
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of
// a second.
const (
	before = "cpu  1000 0 500 8000 400 10 20 70 300 0\n"
	after  = "cpu  1500 10 700 8200 490 10 20 70 500 0\n" // 1000 later
)

func TestUse(t *testing.T) {
	p := newProc(t)
	p.write("stat", before)
	p.write("loadavg", "0.50 1.25 2.00 3/456 7890\n")
	p.write("pressure/cpu", "some avg10=1.00 avg60=12.50 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.25 avg300=0.00 total=0\n")
	first, figures := p.run(nil)
	if _, there := figures["used_ratio"]; there {
		t.Error("the first run has nothing to compare with")
	}
	for name, want := range map[string]float64{
		"load1": 0.5, "load5": 1.25, "load15": 2, "run_queue": 3, "pressure_some_ratio": 0.125, "pressure_full_ratio": 0.0025,
	} {
		if figures[name] != want {
			t.Errorf("%s is %g, not %g", name, figures[name], want)
		}
	}

	p.write("stat", after)
	_, figures = p.run(first.Sample)
	for name, want := range map[string]float64{
		"used_ratio": 0.71, "mode_ratio,user": 0.5, "mode_ratio,nice": 0.01, "mode_ratio,system": 0.2,
		"mode_ratio,idle": 0.2, "mode_ratio,iowait": 0.09, "mode_ratio,steal": 0,
	} {
		if !near(figures[name], want) {
			t.Errorf("%s is %g, not %g", name, figures[name], want)
		}
	}
}

func TestNoTimePassed(t *testing.T) {
	p := newProc(t)
	p.write("stat", before)
	first, _ := p.run(nil)
	if _, figures := p.run(first.Sample); figures["processors"] < 1 {
		t.Error("there is a processor")
	} else if used, there := figures["used_ratio"]; there {
		t.Errorf("%g of no time", used)
	}
}

// The kernel's estimate of iowait may fall.
func TestTimeThatFell(t *testing.T) {
	p := newProc(t)
	p.write("stat", before)
	first, _ := p.run(nil)
	p.write("stat", "cpu  1000 0 600 8000 300 10 20 70 0 0\n")
	_, figures := p.run(first.Sample)
	if figures["used_ratio"] != 1 || figures["mode_ratio,iowait"] != 0 {
		t.Errorf("got %v", figures)
	}
}

func TestNoTimes(t *testing.T) {
	p := newProc(t)
	if _, err := cpu.New().Run(p.context(), &checks.Env{}); err == nil {
		t.Error("a run without times must fail")
	}
	if found, err := cpu.New().Discover(p.context(), &checks.Env{}); err != nil || len(found) != 0 {
		t.Errorf("discovered %v, %v", found, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	p := newProc(t)
	p.write("stat", before)
	for _, load := range []string{"", "1 2 3", "a b c 1/2", "1 2 3 x/2", "-1 0 0 1/2"} {
		p.write("loadavg", load)
		if _, figures := p.run(nil); len(figures) != 1 {
			t.Errorf("load %q gave %v", load, figures)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	c := cpu.New()
	var last any
	b.ReportAllocs()
	for b.Loop() {
		run, err := c.Run(b.Context(), &checks.Env{Last: last})
		if err != nil {
			b.Fatal(err)
		}
		last = run.Sample
	}
}
