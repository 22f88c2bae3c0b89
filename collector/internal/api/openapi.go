package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openapiYAML []byte

// Document returns the API's OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1)
// as JSON. It is kept as YAML, which people read more easily.
func Document() ([]byte, error) {
	var doc any
	if err := yaml.Unmarshal(openapiYAML, &doc); err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document as JSON: %w", err)
	}
	return out, nil
}

func (a *api) openapi(*http.Request) (response, error) {
	return response{body: json.RawMessage(a.document)}, nil
}
