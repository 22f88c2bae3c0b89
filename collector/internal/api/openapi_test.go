package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wacht-io/wacht/collector/internal/api"
)

// schemas holds answers to the OpenAPI document.
type schemas struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

const docURL = "wacht:///openapi.json"

func compile(t *testing.T) *schemas {
	t.Helper()
	raw, err := api.Document()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(docURL, doc); err != nil {
		t.Fatal(err)
	}
	return &schemas{doc: doc.(map[string]any), compiler: c}
}

// template finds the path of the document that a request's path is an instance of.
func (s *schemas) template(path string) string {
	got := strings.Split(path, "/")
	best := ""
	for tmpl := range s.doc["paths"].(map[string]any) {
		parts := strings.Split(tmpl, "/")
		match := len(parts) == len(got)
		for i := range parts {
			match = match && (strings.HasPrefix(parts[i], "{") || parts[i] == got[i])
		}
		if match && (best == "" || strings.Count(tmpl, "{") < strings.Count(best, "{")) {
			best = tmpl
		}
	}
	return best
}

// hold verifies that an answer is one that the document describes.
func (s *schemas) hold(t *testing.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	pointer, media := "#/components/responses/Fault", "application/problem+json"
	tmpl := s.template(path)
	operation, described := dig(s.doc, "paths", tmpl, strings.ToLower(method)).(map[string]any)
	if described {
		code := fmt.Sprint(w.Code)
		if dig(operation, "responses", code) == nil {
			code = "default"
		}
		if dig(operation, "responses", code) == nil && w.Code != http.StatusForbidden && w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s answers %d, which the document does not have", method, path, w.Code)
			return
		}
		pointer = "#/paths/" + escape(tmpl) + "/" + strings.ToLower(method) + "/responses/" + code
		if w.Code < 400 {
			media = "application/json"
		}
		if ref, ok := dig(operation, "responses", code, "$ref").(string); ok {
			pointer = ref
		}
	}
	if w.Code == http.StatusNoContent {
		if w.Body.Len() > 0 {
			t.Errorf("%s %s: 204 with a body", method, path)
		}
		return
	}
	if got := w.Header().Get("Content-Type"); got != media {
		t.Errorf("%s %s answers %d as %q, want %q", method, path, w.Code, got, media)
		return
	}
	schema, err := s.compiler.Compile(docURL + pointer + "/content/" + escape(media) + "/schema")
	if err != nil {
		t.Fatalf("schema of %s %s: %v", method, path, err)
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(body); err != nil {
		t.Errorf("%s %s answers %d what the document does not describe: %v\n%s", method, path, w.Code, err, w.Body)
	}
}

func dig(v any, keys ...string) any {
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// escape writes a name as a part of a JSON pointer in a URL's fragment.
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
}

func TestDocumentIsValid(t *testing.T) {
	raw, err := os.ReadFile("testdata/openapi-3.1.json") // https://spec.openapis.org/oas/3.1/schema/2021-04-15
	if err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("wacht:///meta.json", meta); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("wacht:///meta.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(compile(t).doc); err != nil {
		t.Error(err)
	}
}

func TestDocumentHasEveryRoute(t *testing.T) {
	var documented []string
	for path, item := range compile(t).doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(documented)
	if served := api.RoutesForTest(); !slices.Equal(documented, served) {
		t.Errorf("the document has\n%s\nand served are\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

func TestServesDocument(t *testing.T) {
	if got := start(t).want(http.StatusOK, "", "GET", "/api/v1/openapi.json", ""); got["openapi"] != "3.1.1" {
		t.Errorf("got %v", got["openapi"])
	}
}
