package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/api/apitest"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/desk"
)

func TestQueueShowsWhatPressesMostFirst(t *testing.T) {
	w := demo(t)
	page := w.get(http.StatusOK, "anna", "/incidents")
	var got []string
	for _, a := range page.all(".title") {
		got = append(got, strings.TrimPrefix(a.attr("id"), "row-"))
	}
	want := []string{"INC-000006", "INC-000003", "INC-000005", "INC-000002", "INC-000004"}
	if !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
	if s := page.one(t, "#queue-status"); s != "5 open incidents" {
		t.Errorf("status is %q", s)
	}
	first := page.all("tbody")[0].all("tr")[0].text()
	for _, part := range []string{"P1", "web-1 is silent", "bakery · Utrecht", "Respond", "left", "nobody yet", "9 min ago"} {
		if !strings.Contains(first, part) {
			t.Errorf("the first row lacks %q: %s", part, first)
		}
	}
}

func TestQueueFilters(t *testing.T) {
	w := demo(t)
	for query, want := range map[string]int{
		"?state=resolved": 1, "?priority=P2": 2, "?customer=notary": 2, "?host=h-files": 1, "?state=all": 6, "?state=nonsense": 5,
	} {
		if got := len(w.get(http.StatusOK, "anna", "/incidents"+query).all(".title")); got != want {
			t.Errorf("%s shows %d incidents, want %d", query, got, want)
		}
	}
	none := w.get(http.StatusOK, "anna", "/incidents?state=closed").one(t, ".empty")
	if !strings.Contains(none, "No incident matches") {
		t.Errorf("an empty filter shows %q", none)
	}
	calm := newWorld(t, apitest.New("demo"), nil).get(http.StatusOK, "anna", "/incidents").one(t, ".empty")
	if !strings.Contains(calm, "An incident opens by itself when") {
		t.Errorf("an empty queue explains %q", calm)
	}
}

func TestIncidentPage(t *testing.T) {
	page := demo(t).get(http.StatusOK, "bert", "/incidents/INC-000005")
	text := page.text()
	for _, part := range []string{
		"/srv/data is nearly full", "impact high × urgency medium", "free_bytes < min(0.05 * size_bytes", "largest: /srv/data/mail 121 GiB",
		"Moving last month to the archive.", "taken anna 40 min ago", "files-1", "due ",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if got := buttons(page); !slices.Equal(got, []string{"do-take", "do-comment", "do-resolve"}) {
		t.Errorf("buttons are %v", got)
	}
}

func buttons(page *node) (ids []string) {
	for _, b := range page.all("button") {
		if id := b.attr("id"); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestActingOnAnIncident(t *testing.T) {
	w := demo(t)
	const path = "/incidents/INC-000003"
	for _, c := range []struct {
		do, text string
		left     []string
	}{
		{"take", "", []string{"do-comment", "do-resolve"}},
		{"comment", "on the phone with them", []string{"do-comment", "do-resolve"}},
		{"resolve", "new password", []string{"do-comment", "do-close", "do-reopen"}},
		{"reopen", "", []string{"do-comment", "do-resolve"}},
		{"resolve", "", []string{"do-comment", "do-close", "do-reopen"}},
		{"close", "", nil},
	} {
		res := w.send("bert", http.MethodPost, path+"/"+c.do, url.Values{"text": {c.text}})
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
			t.Fatalf("%s answers %d", c.do, res.StatusCode)
		}
		if got := buttons(w.get(http.StatusOK, "bert", path)); !slices.Equal(got, c.left) {
			t.Errorf("after %s buttons are %v, want %v", c.do, got, c.left)
		}
	}
	page := w.read(http.StatusConflict, w.send("bert", http.MethodPost, path+"/take", url.Values{"text": {"my <words>"}}))
	if got := page.one(t, ".problem"); !strings.Contains(got, "report a new incident") {
		t.Errorf("the page says %q", got)
	}
	w.read(http.StatusUnprocessableEntity, w.send("bert", http.MethodPost, "/incidents/INC-000002/comment", url.Values{"text": {" "}}))
}

func TestReport(t *testing.T) {
	w := demo(t)
	w.get(http.StatusOK, "bert", "/incidents/new?customer=bakery&host=files-1")
	form := url.Values{"title": {"No mail"}, "customer": {"bakery"}, "impact": {"high"}, "urgency": {"low"}, "kind": {"incident"}, "category": {"mail"}, "host": {"files-1"}}
	res := w.send("bert", http.MethodPost, "/incidents", form)
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("reporting answers %d", res.StatusCode)
	}
	text := w.get(http.StatusOK, "bert", res.Header.Get("Location")).text()
	if !strings.Contains(text, "No mail") || !strings.Contains(text, "Reported by bert") || !strings.Contains(text, "P3") {
		t.Errorf("the incident shows %q", text)
	}
	form.Set("impact", "huge")
	page := w.read(http.StatusUnprocessableEntity, w.send("bert", http.MethodPost, "/incidents", form))
	if got := page.one(t, ".problem"); !strings.Contains(got, "high, medium, low") {
		t.Errorf("the page says %q", got)
	}
	if got := page.all("input"); !slices.ContainsFunc(got, func(n *node) bool { return n.attr("value") == "No mail" }) {
		t.Error("what was typed is gone")
	}
	form.Set("host", "deeds-1") // the notary's
	form.Set("impact", "high")
	w.read(http.StatusUnprocessableEntity, w.send("bert", http.MethodPost, "/incidents", form))
}

func TestHostsPage(t *testing.T) {
	w := demo(t)
	page := w.get(http.StatusOK, "anna", "/hosts")
	var names []string
	for _, a := range page.all(".title") {
		names = append(names, a.text())
	}
	if want := []string{"web-1", "files-1", "laptop-femke", "deeds-1", "till-3", "deeds-0"}; !slices.Equal(names, want) {
		t.Errorf("hosts are %v, want the worst first: %v", names, want)
	}
	if got := len(w.get(http.StatusOK, "anna", "/hosts?q=windows").all(".title")); got != 1 {
		t.Errorf("%d hosts have windows", got)
	}
	if got := newWorld(t, apitest.New("demo"), nil).get(http.StatusOK, "anna", "/hosts").one(t, ".empty"); !strings.Contains(got, "Add a host") {
		t.Errorf("without hosts there is %q", got)
	}
}

func TestHostPage(t *testing.T) {
	page := demo(t).get(http.StatusOK, "bert", "/hosts/h-files?range=6h")
	text := page.text()
	for _, part := range []string{
		"3.1 GiB", "0.62 %", "410 µs", "41 °C", "18.2 MiB", "readonly no", "8 processors", "−93 s from ours", "Stale", "Unknown", "Critical",
		"INC-000005", "12 runs are lost", "the machine's file allows no programs", "backup=nightly", "opened an incident", "in 26 d", "43 d ago",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if strings.Contains(text, "Revoke") {
		t.Error("an engineer can revoke")
	}
	for _, d := range page.all("time") {
		if d.attr("title") == "" || d.attr("datetime") == "" {
			t.Errorf("a time does not say when exactly: %s", d.text())
		}
	}
}

func TestRevoke(t *testing.T) {
	w := demo(t)
	if res := w.send("bert", http.MethodPost, "/hosts/h-files/revoke", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("an engineer's revoking answers %d", res.StatusCode)
	}
	if res := w.send("anna", http.MethodPost, "/hosts/h-files/revoke", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("revoking answers %d", res.StatusCode)
	}
	if text := w.get(http.StatusOK, "anna", "/hosts/h-files").text(); !strings.Contains(text, "can't come in any more") {
		t.Error("the page does not say that it is revoked")
	}
	if text := w.get(http.StatusOK, "anna", "/audit").text(); !strings.Contains(text, "host.revoke name files-1") {
		t.Errorf("the log shows %s", text)
	}
}

func TestApprove(t *testing.T) {
	w := demo(t)
	if text := w.get(http.StatusOK, "bert", "/hosts").text(); !strings.Contains(text, "1 host waits for approval") || strings.Contains(text, "Approve") {
		t.Errorf("an engineer sees %s", text)
	}
	if got := w.get(http.StatusOK, "anna", "/hosts").one(t, ".waiting"); !strings.Contains(got, "Approve 1 host") {
		t.Errorf("an admin sees %q", got)
	}
	if text := w.get(http.StatusOK, "anna", "/hosts/h-new").text(); !strings.Contains(text, "This host waits for approval") || !strings.Contains(text, "Approve: till-3") {
		t.Errorf("the host's page shows %s", text)
	}
	for _, path := range []string{"/hosts/h-new/approve", "/hosts/approve"} {
		if res := w.send("bert", http.MethodPost, path, url.Values{"host": {"h-new"}}); res.StatusCode != http.StatusForbidden {
			t.Errorf("an engineer's approving at %s answers %d", path, res.StatusCode)
		}
	}
	if res := w.send("anna", http.MethodPost, "/hosts/approve", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("approving nobody answers %d", res.StatusCode)
	}
	if res := w.send("anna", http.MethodPost, "/hosts/approve", url.Values{"host": {"h-new"}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("approving answers %d", res.StatusCode)
	}
	for _, path := range []string{"/hosts", "/hosts/h-new"} {
		if text := w.get(http.StatusOK, "anna", path).text(); strings.Contains(text, "for approval") {
			t.Errorf("%s still shows that it waits: %s", path, text)
		}
	}
	if text := w.get(http.StatusOK, "anna", "/audit").text(); !strings.Contains(text, "host.approve name till-3") {
		t.Errorf("the log shows %s", text)
	}
	if res := w.send("anna", http.MethodPost, "/hosts/h-new/approve", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("approving again answers %d", res.StatusCode)
	}
}

func TestErrorPages(t *testing.T) {
	w := demo(t)
	for path, want := range map[string]string{"/nothing": "There is nothing here", "/incidents/INC-999999": "There is nothing here", "/hosts/none": "There is nothing here"} {
		if got := w.get(http.StatusNotFound, "anna", path).one(t, ".error"); !strings.Contains(got, want) {
			t.Errorf("%s shows %q", path, got)
		}
	}
	w.read(http.StatusMethodNotAllowed, w.send("anna", http.MethodPost, "/problems", nil))
	if res := w.send("", http.MethodGet, "/static/vendor/", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a folder answers %d", res.StatusCode)
	}
}

func TestGetChangesNothing(t *testing.T) {
	w := demo(t)
	before := fmt.Sprint(w.state())
	for _, path := range pages {
		w.send("anna", http.MethodGet, path, nil)
	}
	for _, path := range []string{"/incidents/INC-000005/take", "/incidents/INC-000005/resolve", "/hosts/h-files/revoke", "/hosts/h-new/approve", "/sign-out", "/language?language=nl", "/account/sessions/end-all"} {
		w.send("anna", http.MethodGet, path, nil)
	}
	if after := fmt.Sprint(w.state()); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// state is what there is: incidents, hosts, and how many lines the log has.
func (w *world) state() []any {
	w.signIn("anna")
	incidents, _, err := w.backend.Incidents(w.t.Context(), scopeOfAll, api.IncidentQuery{State: "all", Limit: 500})
	if err != nil {
		w.t.Fatal(err)
	}
	hosts, err := w.backend.Hosts(w.t.Context(), scopeOfAll)
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := w.auth.Log(w.t.Context(), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return []any{incidents, hosts, len(log)}
}

func TestProblemsPage(t *testing.T) {
	w := demo(t)
	text := w.get(http.StatusOK, "bert", "/problems").text()
	if !strings.Contains(text, "/var will be full") || !strings.Contains(text, "in 16 d") {
		t.Errorf("problems show %q", text)
	}
	w.get(http.StatusOK, "bert", "/problems?state=all")
}

func TestAddHostTellsTheCommands(t *testing.T) {
	text := demo(t).get(http.StatusOK, "bert", "/help/add-host").text()
	for _, part := range []string{"wacht-collector token create --customer", "wacht-agent enroll --collector example.com:7421 --token"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q: %s", part, text)
		}
	}
}

func TestDeskRefusesOverTheTop(t *testing.T) {
	w := demo(t)
	long := strings.Repeat("x", desk.MaxText+1)
	page := w.read(http.StatusUnprocessableEntity, w.send("bert", http.MethodPost, "/incidents/INC-000005/comment", url.Values{"text": {long}}))
	if got := page.one(t, ".problem"); !strings.Contains(got, "at most 16384") {
		t.Errorf("the page says %q", got)
	}
}

func asAdmin(name string) auth.Principal {
	return auth.Principal{Name: name, Role: auth.Admin, Via: auth.ViaCommand}
}
