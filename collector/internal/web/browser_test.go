package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/api/apitest"
	"github.com/wacht-io/wacht/collector/internal/desk"
)

var scopeOfAll = api.Scope{}

func needScripts(t *testing.T) {
	t.Helper()
	for _, file := range []string{"htmx.min.js", "uPlot.iife.min.js"} {
		if _, err := os.Stat(filepath.Join("static", "vendor", file)); err != nil {
			t.Skip(file + " is not there: make assets")
		}
	}
}

// browser is a real one on a real server. What scripts complain of fails the test.
type browser struct {
	t     *testing.T
	world *world
	url   string
	ctx   context.Context
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	backend, err := apitest.Demo(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, backend, remember(t, backend, time.Now()))
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(ctx)
	t.Cleanup(quit)
	b := &browser{t: t, world: w, url: server.URL, ctx: ctx}
	b.watch()
	return b
}

// watch fails the test for errors of scripts and for what the content policy stopped.
func (b *browser) watch() {
	ctx, stop := context.WithCancel(b.ctx)
	var watchers sync.WaitGroup
	thrown, logged := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, log.EntryAdded)
	watchers.Go(func() {
		for e, err := range thrown {
			if err != nil {
				return
			}
			b.t.Errorf("a script failed: %s", e.ExceptionDetails.Text)
		}
	})
	watchers.Go(func() {
		for e, err := range logged {
			if err != nil {
				return
			}
			// An answer of 401 or 404 is logged too, and is what a test asked for.
			if e.Entry.Level == "error" && e.Entry.Source != log.EntrySourceNetwork {
				b.t.Errorf("the browser complains: %s", e.Entry.Text)
			}
		}
	})
	b.t.Cleanup(func() {
		stop()
		watchers.Wait()
	})
}

type step = chromedp.Action[chromedp.Void]

// patience is how long a browser may take, on a busy machine.
const patience = time.Minute

func (b *browser) do(steps ...step) {
	b.t.Helper()
	ctx, done := context.WithTimeout(b.ctx, patience)
	defer done()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// get returns what an action gives.
func get[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, done := context.WithTimeout(b.ctx, patience)
	defer done()
	out, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *browser) see(path string) step { return chromedp.Navigate(b.url + path) }

func shown(css string) step { return chromedp.WaitVisible(chromedp.CSS(css)) }

func typed(css, keys string) step { return chromedp.SendKeys(chromedp.CSS(css), keys) }

// call sends a command of the DevTools protocol.
func call[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, c, params); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) signIn(name string) {
	b.t.Helper()
	b.do(b.see("/sign-in"), typed("input[name=name]", name+"\t"+password+kb.Enter), shown("nav"))
}

// eval returns what an expression comes to in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	return get(b, chromedp.Evaluate[T](expression))
}

func TestSignInKeepsItsPromise(t *testing.T) {
	b := openBrowser(t)
	b.do(b.see("/hosts"), shown("input[name=name]"))
	b.do(typed("input[name=name]", "anna\twrong password"+kb.Enter), shown("[role=alert].problem"))
	// The password's field has the focus, so that it can be typed at once.
	if got := eval[string](b, "document.activeElement.name"); got != "password" {
		t.Errorf("focus is on %q", got)
	}
	b.do(typed("input[name=password]", password+kb.Enter), shown("table.hosts"))
	if got := eval[string](b, "document.cookie"); got != "" {
		t.Errorf("scripts can read the cookie: %s", got)
	}
	b.do(chromedp.Click(chromedp.CSS("form[action='/sign-out'] button")), shown("input[name=name]"))
	b.do(b.see("/hosts"), shown("input[name=name]"))
}

func TestQueueUpdatesItself(t *testing.T) {
	needScripts(t)
	b := openBrowser(t)
	b.signIn("anna")
	b.do(shown("#row-INC-000005"))
	b.do(chromedp.Focus(chromedp.CSS("#row-INC-000005")))
	if _, err := b.world.backend.Handle(apitest.Notary, time.Now(), desk.Report{
		Title: "The phones are dead", Customer: apitest.Notary, Impact: "high", Urgency: "high", Reporter: "Mr De Wit",
	}); err != nil {
		t.Fatal(err)
	}
	b.do(shown("#row-INC-000007"))
	if got := eval[string](b, "document.getElementById('queue-status').textContent"); got != "6 open incidents" {
		t.Errorf("it is read out that there are %q", got)
	}
	if got := eval[string](b, "document.activeElement.id"); got != "row-INC-000005" {
		t.Errorf("focus went to %q", got)
	}
}

func TestSessionEndedElsewhereLeadsToSignIn(t *testing.T) {
	needScripts(t)
	b := openBrowser(t)
	b.signIn("bert")
	b.do(shown("#queue"))
	if err := b.world.auth.EndSessions(t.Context(), asAdmin("anna"), "bert"); err != nil {
		t.Fatal(err)
	}
	b.do(shown("input[name=password]"))
}

// An incident is taken and resolved without a mouse.
func TestIncidentByKeyboard(t *testing.T) {
	b := openBrowser(t)
	b.signIn("bert")
	b.do(shown("#row-INC-000006"), chromedp.Focus(chromedp.CSS("#row-INC-000006")), chromedp.KeyEvent(kb.Enter), shown("#text"))
	b.do(chromedp.KeyEvent(kb.Tab)) // the link that skips to the content
	if got := eval[string](b, "document.activeElement.className"); got != "skip" {
		t.Errorf("the first stop is %q", got)
	}
	b.tabTo("text")
	b.do(chromedp.KeyEvent("Restarting it."))
	b.tabTo("do-take")
	b.do(chromedp.KeyEvent(kb.Enter), shown(".e-taken"))
	b.tabTo("do-resolve")
	b.do(chromedp.KeyEvent(kb.Enter), shown(".e-resolved"))
	in, err := b.world.backend.Incident(t.Context(), scopeOfAll, "INC-000006")
	if err != nil || in.Assignee != "bert" || in.State != "resolved" {
		t.Errorf("incident is %+v, %v", in, err)
	}
}

func (b *browser) tabTo(id string) {
	b.t.Helper()
	for range 40 {
		if eval[string](b, "document.activeElement.id") == id {
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.t.Fatalf("no tab leads to %s", id)
}

func TestGraphsAreDrawn(t *testing.T) {
	needScripts(t)
	b := openBrowser(t)
	b.signIn("anna")
	b.do(b.see("/hosts/h-files?range=6h"), chromedp.ScrollIntoView(chromedp.CSS("#c2")), shown("#c1 canvas"), shown("#c2 canvas"))
	// Something of the line's colour is in the picture.
	const inked = `(() => {
		const c = document.querySelector("#c1 canvas");
		const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		const want = getComputedStyle(document.documentElement).getPropertyValue("--c1").trim();
		const rgb = [1, 3, 5].map((i) => parseInt(want.slice(i, i + 2), 16));
		let n = 0;
		for (let i = 0; i < d.length; i += 4) if (rgb.every((v, k) => Math.abs(d[i + k] - v) < 12) && d[i + 3] > 200) n++;
		return n;
	})()`
	if n := eval[int](b, inked); n < 100 {
		t.Errorf("%d pixels of the graph are drawn", n)
	}
	// Another figure is drawn when it is chosen, with a line for each item.
	b.do(chromedp.Evaluate[chromedp.Void](`{
		const pick = document.querySelector("#c2 select");
		pick.value = "wacht_disk_free_bytes";
		pick.dispatchEvent(new Event("change"));
	}`))
	const labels = `[...document.querySelectorAll("#c2 .u-label")].map((l) => l.textContent).join("|")`
	if !get(b, chromedp.Poll[bool](labels+` === "When|/|/srv/data|/var"`)) {
		t.Error("the figure that was chosen is not drawn")
	}
}

// pages are all that there are, as an admin sees them.
var pages = map[string]string{
	"queue": "/incidents", "incident": "/incidents/INC-000005", "silent": "/incidents/INC-000006", "resolved": "/incidents/INC-000001",
	"report": "/incidents/new", "problems": "/problems", "hosts": "/hosts", "host": "/hosts/h-files?range=24h", "revoked": "/hosts/h-old", "pending": "/hosts/h-new",
	"addhost": "/help/add-host", "account": "/account", "audit": "/audit", "error": "/nothing", "empty": "/incidents?state=closed",
}

// Every page fits a phone and a wide screen, in light and dark. WACHT_SHOTS names a
// folder for pictures of them, to look at.
func TestPagesFit(t *testing.T) {
	b := openBrowser(t)
	shots := os.Getenv("WACHT_SHOTS")
	b.do(b.see("/sign-in"))
	b.fits("signin", shots)
	b.signIn("anna")
	for name, path := range pages {
		b.do(b.see(path), shown("main"))
		b.fits(name, shots)
	}
}

func (b *browser) fits(name, shots string) {
	b.t.Helper()
	for _, width := range []int64{360, 1920} {
		for _, scheme := range []string{"light", "dark"} {
			b.do(chromedp.EmulateViewport(width, 900))
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
				wide := eval[string](b, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName + "." + e.className).slice(0, 6).join(", ")`)
				b.t.Errorf("%s is %d px too wide at %d: %s", name, over, width, wide)
			}
			dark := eval[string](b, "getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 28)"
			if dark != (scheme == "dark") {
				b.t.Errorf("%s does not follow %s", name, scheme)
			}
			if shots != "" {
				b.shoot(filepath.Join(shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
			}
		}
	}
}

func (b *browser) shoot(file string) {
	b.t.Helper()
	b.do(chromedp.Sleep(400 * time.Millisecond)) // for graphs to be drawn; only who looks at pictures waits
	if err := os.WriteFile(file, get(b, chromedp.FullScreenshot(100)), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// Without scripts a page is whole: nothing on it only works with them.
func TestWithoutScripts(t *testing.T) {
	b := openBrowser(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.signIn("anna")
	b.do(b.see("/hosts/h-files"), shown("svg.spark"))
	if text := get(b, chromedp.Text(chromedp.CSS("#c2"))); !strings.Contains(text, "/srv/data") {
		t.Errorf("the check shows %q", text)
	}
}

// axe-core (https://github.com/dequelabs/axe-core) knows what of WCAG a program can
// find: contrast, names of fields, order of headings.
func TestPagesAreAccessible(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("axe-core is not there: make assets")
	}
	b := openBrowser(t)
	b.do(b.see("/sign-in"))
	b.audit("signin", string(axe))
	b.signIn("anna")
	for name, path := range pages {
		b.do(b.see(path), shown("main"))
		b.audit(name, string(axe))
	}
}

func (b *browser) audit(name, axe string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		b.do(chromedp.Evaluate[chromedp.Void](axe + ";0"))
		found := get(b, chromedp.Evaluate[[]string](`axe.run().then((r) => r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3).join(" | ")))`, chromedp.EvalAwaitPromise))
		for _, f := range found {
			b.t.Errorf("%s in %s: %s", name, scheme, f)
		}
	}
}
