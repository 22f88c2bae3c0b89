package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// content is what the body must hold.
type content struct {
	match *regexp.Regexp
	path  []string // keys and indices, or nil
	value string
	exact bool // value is to be compared
}

func readContent(p checks.Params) (content, error) {
	c := content{value: p.String("json_value"), exact: p.Has("json_value")}
	if text := p.String("body"); text != "" {
		var err error
		if c.match, err = regexp.Compile(text); err != nil {
			return c, fmt.Errorf("parameter body: %w", err)
		}
	}
	if text := p.String("json_path"); text != "" {
		c.path = strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	} else if c.exact {
		return c, fmt.Errorf("parameter json_value needs json_path")
	}
	if p.String("method") == "HEAD" && (c.match != nil || c.path != nil) {
		return c, fmt.Errorf("parameter method: the answer to HEAD has no body to look into")
	}
	return c, nil
}

// in says what is wrong with the body, if anything.
func (c *content) in(body []byte) error {
	if c.match != nil && !c.match.Match(body) {
		return fmt.Errorf("%q does not occur in %d bytes", c.match, len(body))
	}
	if c.path == nil {
		return nil
	}
	found, err := lookup(body, c.path)
	name := strings.Join(c.path, ".")
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case c.exact && found != c.value:
		return fmt.Errorf("%s is %.100q, expected %q", name, found, c.value)
	case !c.exact && (found == "null" || found == "false"):
		return fmt.Errorf("%s is %s", name, found)
	}
	return nil
}

// lookup follows a path of keys and indices into JSON and returns what is there:
// a string's text, and anything else as JSON writes it.
func lookup(body []byte, path []string) (string, error) {
	at := json.RawMessage(body)
	for _, step := range path {
		next, err := descend(at, step)
		if err != nil {
			return "", err
		}
		at = next
	}
	var text string
	if json.Unmarshal(at, &text) == nil && !bytes.Equal(at, []byte("null")) {
		return text, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, at); err != nil {
		return "", fmt.Errorf("the body is not JSON: %w", err)
	}
	return compact.String(), nil
}

func descend(at json.RawMessage, step string) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal(at, &object) == nil && object != nil {
		if v, ok := object[step]; ok {
			return v, nil
		}
		return nil, fmt.Errorf("there is no %q", step)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(at, &list); err != nil || list == nil {
		return nil, fmt.Errorf("there is neither an object nor a list in which to find %q", step)
	}
	i, err := strconv.Atoi(step)
	if err != nil || i >= len(list) || i < 0 {
		return nil, fmt.Errorf("there is no element %q in a list of %d", step, len(list))
	}
	return list[i], nil
}
