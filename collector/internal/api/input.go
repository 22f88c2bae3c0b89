package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxBody is room for the longest description, escaped.
const maxBody = 128 << 10

// Limits of a page of incidents.
const (
	DefaultLimit = 100
	MaxLimit     = 500
)

// decode reads a body into v, strictly: a word that we do not know is one that would
// be ignored, and its sender would not learn of it.
func decode(r *http.Request, v any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &failure{status: http.StatusUnsupportedMediaType, detail: "send JSON with the header Content-Type: application/json"}
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeFailure(err, v)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("", "send one JSON object and nothing behind it")
	}
	return nil
}

func decodeFailure(err error, v any) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &failure{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("send at most %d KiB", maxBody>>10)}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return invalid(wrong.Field, fmt.Sprintf("%s must be a %s, not a %s", wrong.Field, wrong.Type, wrong.Value))
	}
	// encoding/json has no type for this error; its text has been the same since Go 1.10.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if plain, err := strconv.Unquote(name); err == nil {
			name = plain
		}
		return invalid(name, fmt.Sprintf("there is no field %q: use %s", name, strings.Join(fields(v), ", ")))
	}
	if errors.Is(err, io.EOF) {
		return invalid("", "send a JSON object; {} at least")
	}
	return invalid("", "the body is not a JSON object: "+err.Error())
}

// fields names what v, a pointer to a struct, can be sent.
func fields(v any) []string {
	var names []string
	t := reflect.TypeOf(v).Elem()
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// known refuses query parameters that are not among names, and those given twice.
func known(r *http.Request, names ...string) error {
	for name, values := range r.URL.Query() {
		if !slices.Contains(names, name) {
			if len(names) == 0 {
				return invalid(name, fmt.Sprintf("there is no parameter %q here: leave it out", name))
			}
			return invalid(name, fmt.Sprintf("there is no parameter %q: use %s", name, strings.Join(names, ", ")))
		}
		if len(values) > 1 {
			return invalid(name, fmt.Sprintf("give %s once", name))
		}
	}
	return nil
}

// States are the values of the state parameter of incidents.
func States() []string { return []string{"open", "resolved", "closed", "all"} }

func incidentQuery(r *http.Request) (IncidentQuery, error) {
	if err := known(r, "state", "customer", "host", "priority", "limit", "cursor"); err != nil {
		return IncidentQuery{}, err
	}
	v := r.URL.Query()
	q := IncidentQuery{
		State: v.Get("state"), Customer: v.Get("customer"), Host: v.Get("host"),
		Priority: v.Get("priority"), Limit: DefaultLimit, Cursor: v.Get("cursor"),
	}
	if q.State != "" && !slices.Contains(States(), q.State) {
		return q, invalid("state", fmt.Sprintf("there is no state %q: use %s", q.State, strings.Join(States(), ", ")))
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxLimit {
			return q, invalid("limit", fmt.Sprintf("%q can't be a limit: use a number from 1 to %d", text, MaxLimit))
		}
		q.Limit = n
	}
	return q, nil
}
