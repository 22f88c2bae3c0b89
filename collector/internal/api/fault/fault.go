// Package fault answers HTTP requests that could not be done, as RFC 9457 (Problem
// Details for HTTP APIs) writes them.
package fault

import (
	"encoding/json"
	"net/http"
)

// Fault is one problem document. Its type is about:blank (RFC 9457, section 4.2.1):
// the status says what kind it is, and Detail says what to do.
type Fault struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail tells a person what was wrong and what to do about it.
	Detail string `json:"detail"`
	// Field names the part of the request that was wrong, where one was.
	Field string `json:"field,omitempty"`
}

// ContentType is the media type of a problem document.
const ContentType = "application/problem+json"

// Write answers with a problem document.
func Write(w http.ResponseWriter, status int, detail string) {
	WriteField(w, status, "", detail)
}

// WriteField answers with a problem document about one part of the request.
func WriteField(w http.ResponseWriter, status int, field, detail string) {
	body, err := json.Marshal(Fault{Title: http.StatusText(status), Status: status, Detail: detail, Field: field})
	if err != nil {
		// Strings and a number always encode.
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(append(body, '\n'))
}
