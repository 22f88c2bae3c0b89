package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/api/apitest"
	"github.com/wacht-io/wacht/collector/internal/engine"
)

// What agents and people write is text and nothing else, wherever it shows.
func TestHostileTextIsEscaped(t *testing.T) {
	const evil = `<script>alert(1)</script>"><img src=x onerror=alert(2)>{{.}}`
	b := apitest.New("demo")
	now := time.Now()
	h := engine.HostDetail{}
	h.ID, h.Customer, h.Name, h.Hostname, h.Site, h.Platform, h.Labels = "h1", "demo", evil, evil, evil, evil, map[string]string{evil: evil}
	h.Findings = []engine.Finding{{At: now, Count: 1, Text: evil}}
	h.Refused = []engine.RefusedTask{{Check: evil, Reason: evil}}
	h.Checks = []engine.StateView{{
		Check: evil, Instance: evil, Item: evil, Summary: evil, Evidence: evil, LastSeen: now,
		Metrics: []engine.MetricView{{Name: evil, Exposed: evil, Unit: evil, Labels: map[string]string{"l": evil}, Value: 3}},
	}}
	b.PutHost(h)
	b.PutTransition(engine.TransitionView{Host: "h1", Check: evil, Item: evil, Decision: evil})
	w := newWorld(t, b, nil)
	form := url.Values{"title": {evil}, "customer": {"demo"}, "impact": {"high"}, "urgency": {"high"}, "description": {evil}, "service": {evil}, "reporter": {evil}, "kind": {"incident"}, "category": {"other"}}
	res := w.send("anna", http.MethodPost, "/incidents", form)
	w.send("anna", http.MethodPost, res.Header.Get("Location")+"/comment", url.Values{"text": {evil}})
	for _, path := range []string{"/incidents", res.Header.Get("Location"), "/hosts", "/hosts/h1", "/hosts?q=" + url.QueryEscape(evil), "/problems", "/audit", "/account", "/incidents/new?host=" + url.QueryEscape(evil)} {
		page := w.get(http.StatusOK, "anna", path, "User-Agent", evil)
		for d := range page.Descendants() {
			e := &node{d}
			if d.Type == html.ElementNode && (d.Data == "img" || (d.Data == "script" && e.attr("src") == "") || e.attr("onerror") != "") {
				t.Errorf("%s has a live %s", path, d.Data)
			}
		}
	}
}

func TestEveryCustomerSeesTheirOwn(t *testing.T) {
	w := demo(t)
	for _, path := range []string{"/incidents?state=all", "/incidents?state=all&customer=notary", "/hosts", "/problems", "/incidents/new"} {
		if text := w.get(http.StatusOK, "femke", path).text(); strings.Contains(text, "deeds") || strings.Contains(text, "deed archive") {
			t.Errorf("%s shows the bakery what is the notary's", path)
		}
	}
	for _, path := range []string{"/incidents/INC-000003", "/hosts/h-deeds", "/hosts/deeds-1"} {
		w.get(http.StatusNotFound, "femke", path)
	}
	for _, do := range api.Actions() {
		if res := w.send("femke", http.MethodPost, "/incidents/INC-000003/"+do, url.Values{"text": {"x"}}); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s of another's incident answers %d", do, res.StatusCode)
		}
	}
	form := url.Values{"title": {"x"}, "customer": {"notary"}, "impact": {"high"}, "urgency": {"high"}}
	if res := w.send("femke", http.MethodPost, "/incidents", form); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("reporting for another customer answers %d", res.StatusCode)
	}
	w.get(http.StatusForbidden, "femke", "/audit")
	w.get(http.StatusForbidden, "bert", "/audit")
}

func TestSignInIsAsked(t *testing.T) {
	w := demo(t)
	for path, want := range map[string]string{
		"/": "/sign-in", "/incidents?state=all": "/sign-in?next=%2Fincidents%3Fstate%3Dall", "/hosts/h-files": "/sign-in?next=%2Fhosts%2Fh-files", "/nothing": "/sign-in?next=%2Fnothing",
	} {
		if res := w.send("", http.MethodGet, path, nil); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != want {
			t.Errorf("%s answers %d to %s", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/incidents", "/incidents/INC-000005/take", "/hosts/h-files/revoke", "/hosts/h-new/approve", "/hosts/approve", "/account/sessions/end-all"} {
		if res := w.send("", http.MethodPost, path, url.Values{"title": {"x"}}); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), "/sign-in") {
			t.Errorf("POST %s answers %d to %s", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
	res := w.send("", http.MethodGet, "/incidents", nil, "Hx-Request", "true")
	if res.StatusCode != http.StatusUnauthorized || res.Header.Get("Hx-Redirect") != "/sign-in?next=%2Fincidents" {
		t.Errorf("a page that refreshes itself gets %d to %q", res.StatusCode, res.Header.Get("Hx-Redirect"))
	}
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	w := demo(t)
	for next, want := range map[string]string{
		"/hosts?q=a": "/hosts?q=a", "https://evil.example.com": "/", "//evil.example.com": "/", `/\evil.example.com`: "/",
		"/\tevil": "/", "hosts": "/", "javascript:alert(1)": "/", "": "/",
	} {
		res := w.send("", http.MethodPost, "/sign-in", url.Values{"name": {"anna"}, "password": {password}, "next": {next}})
		if got := res.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

func TestSignInRefuses(t *testing.T) {
	w := demo(t)
	form := url.Values{"name": {"anna"}, "password": {"a wrong password"}}
	page := w.read(http.StatusUnauthorized, w.send("", http.MethodPost, "/sign-in", form))
	if got := page.one(t, ".problem"); got != "The name or the password is wrong." {
		t.Errorf("it says %q", got)
	}
	page = w.read(http.StatusForbidden, w.send("", http.MethodPost, "/sign-in", form, "Origin", "http://wacht.example.com", "Sec-Fetch-Site", "same-origin"))
	if got := page.one(t, ".problem"); !strings.Contains(got, "plain HTTP") {
		t.Errorf("over plain HTTP it says %q", got)
	}
	for range 10 {
		w.send("", http.MethodPost, "/sign-in", form)
	}
	res := w.send("", http.MethodPost, "/sign-in", form)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("too many attempts answer %d", res.StatusCode)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	w := demo(t)
	for _, path := range []string{"/incidents/INC-000005/take", "/sign-out", "/sign-in", "/language", "/account/sessions/end-all", "/hosts/h-files/revoke", "/hosts/h-new/approve", "/hosts/approve", "/incidents"} {
		if res := w.send("anna", http.MethodPost, path, nil, "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s from another site answers %d", path, res.StatusCode)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := demo(t)
	for _, path := range []string{"/sign-in", "/incidents", "/nothing", "/static/style.css"} {
		h := w.send("anna", http.MethodGet, path, nil).Header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s has headers %v", path, h)
		}
	}
	for _, path := range []string{"/sign-in", "/incidents", "/hosts/h-files", "/incidents/INC-000005", "/account"} {
		page := w.get(map[bool]int{true: http.StatusSeeOther, false: http.StatusOK}[path == "/sign-in"], "anna", path)
		for d := range page.Descendants() {
			e := &node{d}
			if d.Data == "style" || e.attr("style") != "" || e.attr("onclick") != "" || (d.Data == "script" && e.attr("src") == "") {
				t.Errorf("%s has an inline %s", path, d.Data)
			}
		}
	}
}

func TestSessionsCanBeEnded(t *testing.T) {
	w := demo(t)
	first := w.signIn("bert")
	delete(w.cookies, "bert")
	page := w.get(http.StatusOK, "bert", "/account")
	var end string
	for _, f := range page.all("form") {
		if strings.HasSuffix(f.attr("action"), "/end") {
			end = f.attr("action")
		}
	}
	w.send("anna", http.MethodPost, end, nil) // somebody else's: nothing happens
	other := *w
	other.cookies = map[string]*http.Cookie{"bert": first}
	other.get(http.StatusOK, "bert", "/account")
	w.send("bert", http.MethodPost, end, nil)
	if res := other.send("bert", http.MethodGet, "/account", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("the session that was ended answers %d", res.StatusCode)
	}
	w.send("bert", http.MethodPost, "/account/sessions/end-all", nil)
	if res := w.send("bert", http.MethodGet, "/account", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("signed out everywhere, and it answers %d", res.StatusCode)
	}
}
