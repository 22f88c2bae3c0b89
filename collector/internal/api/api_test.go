package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/wacht-io/wacht/collector/internal/api"
	"github.com/wacht-io/wacht/collector/internal/api/apitest"
	"github.com/wacht-io/wacht/collector/internal/auth"
	"github.com/wacht-io/wacht/collector/internal/store/memstore"
)

// fixture is a running API with the demo's data, and a token for each who asks.
type fixture struct {
	t       *testing.T
	handler http.Handler
	backend *apitest.Backend
	auth    *auth.Auth
	tokens  map[string]string
	schema  *schemas
}

func start(t *testing.T) *fixture {
	t.Helper()
	backend, err := apitest.Demo(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New()
	a, err := auth.New(s, auth.Unclaimed{Store: s}, auth.Options{Hashing: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Options{Backend: backend, Auth: a})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, handler: h, backend: backend, auth: a, tokens: map[string]string{}, schema: compile(t)}
	for name, n := range map[string]auth.NewToken{
		"admin": {Name: "admin", Role: auth.Admin}, "engineer": {Name: "engineer", Role: auth.Engineer},
		"baker": {Name: "baker", Role: auth.Engineer, Customer: apitest.Bakery}, "clerk": {Name: "clerk", Role: auth.Admin, Customer: apitest.Notary},
	} {
		text, _, err := a.AddToken(t.Context(), auth.Principal{Name: "root", Via: auth.ViaCommand}, n)
		if err != nil {
			t.Fatal(err)
		}
		f.tokens[name] = text
	}
	return f
}

// ask sends a request as one of the tokens' owners, holds the answer to the OpenAPI
// document, and returns its status and body.
func (f *fixture) ask(as, method, path, body string) (int, map[string]any) {
	f.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(f.t.Context(), method, path, in)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+f.tokens[as])
	}
	return f.send(r)
}

func (f *fixture) send(r *http.Request) (int, map[string]any) {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	f.schema.hold(f.t, r.Method, r.URL.Path, w)
	var got map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			f.t.Fatalf("%s %s: %v in %s", r.Method, r.URL, err, w.Body)
		}
	}
	return w.Code, got
}

// want asks and expects a status.
func (f *fixture) want(status int, as, method, path, body string) map[string]any {
	f.t.Helper()
	code, got := f.ask(as, method, path, body)
	if code != status {
		f.t.Fatalf("%s %s as %q answers %d, want %d: %v", method, path, as, code, status, got)
	}
	return got
}

func numbers(list any) []string {
	var out []string
	for _, i := range list.([]any) {
		out = append(out, i.(map[string]any)["number"].(string))
	}
	return out
}

func TestIncidents(t *testing.T) {
	f := start(t)
	for _, c := range []struct {
		as, query string
		want      []string
	}{
		{"engineer", "", []string{"INC-000006", "INC-000005", "INC-000004", "INC-000003", "INC-000002"}},
		{"engineer", "?state=open&priority=P1", []string{"INC-000006"}},
		{"engineer", "?state=resolved", []string{"INC-000001"}},
		{"engineer", "?state=closed", nil},
		{"engineer", "?customer=notary&state=all", []string{"INC-000004", "INC-000003"}},
		{"engineer", "?host=files-1", []string{"INC-000005"}},
		{"engineer", "?host=h-files", []string{"INC-000005"}},
		{"clerk", "?state=all", []string{"INC-000004", "INC-000003"}},
		{"clerk", "?customer=bakery", nil},
		{"baker", "?customer=notary&state=all", nil},
	} {
		got := f.want(http.StatusOK, c.as, "GET", "/api/v1/incidents"+c.query, "")
		if n := numbers(got["incidents"]); !slices.Equal(n, c.want) {
			t.Errorf("%s as %s: got %v, want %v", c.query, c.as, n, c.want)
		}
	}
}

func TestIncidentsComeInPages(t *testing.T) {
	f := start(t)
	var all []string
	cursor := ""
	for range 4 {
		got := f.want(http.StatusOK, "engineer", "GET", "/api/v1/incidents?limit=2&state=all&cursor="+cursor, "")
		all = append(all, numbers(got["incidents"])...)
		if cursor = got["next"].(string); cursor == "" {
			break
		}
	}
	if len(all) != 6 || !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("pages hold %v", all)
	}
}

func TestIncidentHasTimelineAndWhy(t *testing.T) {
	got := start(t).want(http.StatusOK, "engineer", "GET", "/api/v1/incidents/INC-000005", "")
	if !strings.Contains(got["why"].(string), "free_bytes < min(0.05") {
		t.Errorf("why is %q", got["why"])
	}
	first := got["timeline"].([]any)[0].(map[string]any)
	if first["event"] != "opened" || first["evidence"] == "" || got["assignee"] != "anna" {
		t.Errorf("first entry is %v of %v", first, got)
	}
	for _, hidden := range []string{"clock", "told", "opens"} {
		if _, there := got[hidden]; there {
			t.Errorf("the answer has %s", hidden)
		}
	}
}

func TestReportAndActions(t *testing.T) {
	f := start(t)
	in := f.want(http.StatusCreated, "engineer", "POST", "/api/v1/incidents", `{"title":"No mail since ten","customer":"bakery","host":"files-1","impact":"high","urgency":"high","category":"mail"}`)
	path := "/api/v1/incidents/" + in["number"].(string)
	if in["priority"] != "P1" || in["reporter"] != "api:engineer" || in["host"] != "h-files" {
		t.Errorf("reported %v", in)
	}
	for _, c := range []struct {
		do, body string
		want     string
	}{
		{"take", "", "open"}, {"comment", `{"text":"looking"}`, "open"}, {"resolve", `{"text":"restarted"}`, "resolved"},
		{"reopen", "{}", "open"}, {"resolve", "", "resolved"}, {"close", "", "closed"},
	} {
		got := f.want(http.StatusOK, "engineer", "POST", path+"/"+c.do, c.body)
		if got["state"] != c.want || got["assignee"] != "api:engineer" {
			t.Errorf("after %s: %v", c.do, got)
		}
	}
	got := f.want(http.StatusConflict, "engineer", "POST", path+"/take", "")
	if !strings.Contains(got["detail"].(string), "report a new incident") {
		t.Errorf("taking a closed incident: %v", got)
	}
}

func TestRefusesBadInput(t *testing.T) {
	f := start(t)
	const incidents = "/api/v1/incidents"
	long := `{"text":"` + strings.Repeat("x", 200<<10) + `"}`
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		field, detail            string
	}{
		{"unknown parameter", "GET", incidents + "?sate=open", "", 400, "sate", "use state, customer"},
		{"parameter twice", "GET", incidents + "?state=open&state=all", "", 400, "state", "once"},
		{"no such state", "GET", incidents + "?state=gone", "", 400, "state", "use open, resolved, closed, all"},
		{"limit too low", "GET", incidents + "?limit=0", "", 400, "limit", "1 to 500"},
		{"limit too high", "GET", incidents + "?limit=501", "", 400, "limit", "1 to 500"},
		{"limit no number", "GET", incidents + "?limit=all", "", 400, "limit", "1 to 500"},
		{"strange cursor", "GET", incidents + "?cursor=x", "", 422, "", "cursor"},
		{"unknown field", "POST", incidents, `{"titel":"x"}`, 400, "titel", "use title, description, customer"},
		{"wrong type", "POST", incidents, `{"title":3}`, 400, "title", "must be a string"},
		{"no JSON", "POST", incidents, `title=x`, 400, "", "not a JSON object"},
		{"two objects", "POST", incidents, `{} {}`, 400, "", "one JSON object"},
		{"empty list", "POST", incidents, `[]`, 400, "", "not a JSON object"},
		{"no customer", "POST", incidents, `{"title":"x"}`, 422, "customer", "customer"},
		{"no such customer", "POST", incidents, `{"title":"x","customer":"nobody","impact":"high","urgency":"high"}`, 404, "", "that you may see"},
		{"no title", "POST", incidents, `{"customer":"bakery","impact":"high","urgency":"high"}`, 422, "", "title: it is missing"},
		{"strange impact", "POST", incidents, `{"title":"x","customer":"bakery","impact":"huge","urgency":"high"}`, 422, "", "high, medium, low"},
		{"strange host", "POST", incidents, `{"title":"x","customer":"bakery","host":"deeds-1","impact":"high","urgency":"high"}`, 404, "", "that you may see"},
		{"empty comment", "POST", incidents + "/INC-000005/comment", `{"text":" "}`, 422, "", "text: it is missing"},
		{"comment without body", "POST", incidents + "/INC-000005/comment", "", 415, "", "Content-Type"},
		{"long comment", "POST", incidents + "/INC-000005/comment", long, 413, "", "128 KiB"},
		{"close open one", "POST", incidents + "/INC-000005/close", "", 409, "", "resolve it first"},
		{"unknown action", "POST", incidents + "/INC-000005/delete", "", 404, "", "openapi.json"},
		{"no such incident", "GET", incidents + "/INC-999999", "", 404, "", "that you may see"},
		{"wrong method", "DELETE", incidents + "/INC-000005", "", 405, "", "use GET here"},
		{"strange problem state", "GET", "/api/v1/problems?state=closed", "", 400, "state", "open, resolved, all"},
		{"parameter of a host", "GET", "/api/v1/hosts/h-files?full=1", "", 400, "full", "leave it out"},
		{"no such address", "GET", "/api/v1/nothing", "", 404, "", "openapi.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			got := f.want(c.status, "engineer", c.method, c.path, c.body)
			if field, _ := got["field"].(string); field != c.field || !strings.Contains(got["detail"].(string), c.detail) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Every operation is tried as nobody, as who may not, and as another tenant.
func TestNobodyReachesWhatIsNotTheirs(t *testing.T) {
	f := start(t)
	const report = `{"title":"x","customer":"bakery","impact":"high","urgency":"high"}`
	for _, c := range []struct {
		method, path, body string
		foreign            int // to the notary's admin
	}{
		{"GET", "/api/v1/incidents", "", 200},
		{"GET", "/api/v1/incidents/INC-000005", "", 404},
		{"POST", "/api/v1/incidents", report, 404},
		{"POST", "/api/v1/incidents/INC-000005/take", "", 404},
		{"POST", "/api/v1/incidents/INC-000005/comment", `{"text":"x"}`, 404},
		{"POST", "/api/v1/incidents/INC-000005/resolve", "", 404},
		{"POST", "/api/v1/incidents/INC-000005/close", "", 404},
		{"POST", "/api/v1/incidents/INC-000005/reopen", "", 404},
		{"GET", "/api/v1/hosts", "", 200},
		{"GET", "/api/v1/hosts/h-files", "", 404},
		{"GET", "/api/v1/hosts/files-1", "", 404},
		{"POST", "/api/v1/hosts/h-files/revoke", "", 404},
		{"POST", "/api/v1/hosts/h-new/approve", "", 404},
		{"GET", "/api/v1/problems", "", 200},
	} {
		f.want(http.StatusUnauthorized, "", c.method, c.path, c.body)
		got := f.want(c.foreign, "clerk", c.method, c.path, c.body)
		if text := fmt.Sprint(got); strings.Contains(text, "bakery") || strings.Contains(text, "files-1") {
			t.Errorf("%s %s shows the notary %s", c.method, c.path, text)
		}
	}
	in := f.want(http.StatusOK, "baker", "GET", "/api/v1/incidents/INC-000005", "")
	if in["state"] != "open" || in["assignee"] != "anna" {
		t.Errorf("a stranger changed %v", in)
	}
}

func TestOnlyAdminsRevoke(t *testing.T) {
	f := start(t)
	f.want(http.StatusForbidden, "engineer", "POST", "/api/v1/hosts/files-1/revoke", "")
	f.want(http.StatusForbidden, "baker", "POST", "/api/v1/hosts/files-1/revoke", "")
	f.want(http.StatusNoContent, "admin", "POST", "/api/v1/hosts/files-1/revoke", "")
	if h := f.want(http.StatusOK, "engineer", "GET", "/api/v1/hosts/h-files", ""); h["revoked_at"] == nil {
		t.Errorf("host is %v", h)
	}
	log, err := f.auth.Log(t.Context(), 1)
	if err != nil || len(log) != 1 || log[0].Action != "host.revoke" || log[0].By != "api:admin" || log[0].Customer != apitest.Bakery {
		t.Errorf("the log's newest line is %+v, %v", log, err)
	}
}

func TestOnlyAdminsApprove(t *testing.T) {
	f := start(t)
	f.want(http.StatusForbidden, "engineer", "POST", "/api/v1/hosts/h-new/approve", "")
	f.want(http.StatusForbidden, "baker", "POST", "/api/v1/hosts/h-new/approve", "")
	if h := f.want(http.StatusOK, "engineer", "GET", "/api/v1/hosts/h-new", ""); h["pending"] != true {
		t.Errorf("host is %v", h)
	}
	f.want(http.StatusNoContent, "admin", "POST", "/api/v1/hosts/h-new/approve", "")
	if h := f.want(http.StatusOK, "engineer", "GET", "/api/v1/hosts/h-new", ""); h["pending"] != nil || h["approved_by"] != "api:admin" || h["approved_at"] == nil {
		t.Errorf("host is %v", h)
	}
	log, err := f.auth.Log(t.Context(), 1)
	if err != nil || len(log) != 1 || log[0].Action != "host.approve" || log[0].Customer != apitest.Bakery {
		t.Errorf("the log's newest line is %+v, %v", log, err)
	}
	f.want(http.StatusNoContent, "admin", "POST", "/api/v1/hosts/files-1/approve", "") // it does not wait
	f.want(http.StatusNotFound, "admin", "POST", "/api/v1/hosts/nobody/approve", "")
}

func TestHosts(t *testing.T) {
	f := start(t)
	for as, want := range map[string]int{"engineer": 6, "baker": 4, "clerk": 2} {
		if got := len(f.want(http.StatusOK, as, "GET", "/api/v1/hosts", "")["hosts"].([]any)); got != want {
			t.Errorf("%s sees %d hosts, want %d", as, got, want)
		}
	}
	h := f.want(http.StatusOK, "baker", "GET", "/api/v1/hosts/files-1", "")
	if h["level"] != "critical" || h["fingerprint"] != nil || len(h["checks"].([]any)) != 10 {
		t.Errorf("host is %v", h)
	}
}

func TestFiguresThatAreNoneAreLeftOut(t *testing.T) {
	f := start(t)
	h, err := f.backend.Host(t.Context(), api.Scope{}, "h-deeds")
	if err != nil {
		t.Fatal(err)
	}
	h.Checks[0].Metrics[0].Value = math.NaN()
	f.backend.PutHost(h)
	got := f.want(http.StatusOK, "clerk", "GET", "/api/v1/hosts/h-deeds", "")
	if state := got["checks"].([]any)[0].(map[string]any); state["check"] != "memory" || state["metrics"] != nil {
		t.Errorf("state is %v", state)
	}
}

func TestProblems(t *testing.T) {
	f := start(t)
	for as, want := range map[string]int{"engineer": 1, "clerk": 0} {
		if got := f.want(http.StatusOK, as, "GET", "/api/v1/problems", "")["problems"].([]any); len(got) != want {
			t.Errorf("%s sees %v", as, got)
		}
	}
	f.want(http.StatusOK, "engineer", "GET", "/api/v1/problems?state=all", "")
}

func TestHealth(t *testing.T) {
	f := start(t)
	f.want(http.StatusOK, "", "GET", "/healthz", "")
	f.want(http.StatusOK, "", "GET", "/readyz", "")
	f.backend.SetReady(errors.New("the disk is full"))
	if got := f.want(http.StatusServiceUnavailable, "", "GET", "/readyz", ""); strings.Contains(fmt.Sprint(got), "disk") {
		t.Errorf("everybody is told %v", got)
	}
}

func TestSessionWorksToo(t *testing.T) {
	f := start(t)
	root := auth.Principal{Name: "root", Via: auth.ViaCommand}
	if _, err := f.auth.AddUser(t.Context(), root, auth.NewUser{Name: "anna", Role: auth.Engineer, Password: "correct horse battery"}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if _, err := f.auth.SignIn(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), "anna", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	for site, want := range map[string]int{"same-origin": 200, "cross-site": 403} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/incidents/INC-000005/take", nil)
		r.AddCookie(w.Result().Cookies()[0])
		r.Header.Set("Sec-Fetch-Site", site)
		if code, got := f.send(r); code != want {
			t.Errorf("from %s: %d %v", site, code, got)
		}
	}
}
