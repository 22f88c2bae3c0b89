package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/checks"
)

// reader reads one YAML file by its nodes, so that everything that is wrong is found
// at once, each with its line, in words of the file and not of Go's types.
type reader struct {
	file string
	errs []error
}

func (r *reader) bad(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: "+format, append([]any{r.file, n.Line}, args...)...))
}

var yamlErrorRE = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// document parses the file. Nil means that it is empty, or that it can't be parsed.
func (r *reader) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && !errors.Is(dec.Decode(&more), io.EOF) {
		r.bad(&more, "a second document; put all layers in one list, or in another file")
	}
	if err != nil {
		line, text := "1", err.Error()
		if m := yamlErrorRE.FindStringSubmatch(text); m != nil {
			line, text = max(m[1], line), m[2]
		}
		r.errs = append(r.errs, fmt.Errorf("%s:%s: %s", r.file, line, text))
		return nil
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil
	}
	return doc.Content[0]
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.AliasNode:
		return "an alias (write the value out)"
	}
	if isNull(n) {
		return "empty"
	}
	return strconv.Quote(n.Value)
}

// list yields the entries of a list.
func (r *reader) list(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "%s is %s; it is a list, each entry starting with a dash", what, kindOf(n))
		return nil
	}
	return n.Content
}

// group calls f with each key of a mapping and its value.
func (r *reader) group(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "%s is %s; it is a group of keys, each with a value", what, kindOf(n))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.bad(key, "%s: a key is text, not %s", what, kindOf(key))
			continue
		}
		if first, dup := seen[key.Value]; dup {
			r.bad(key, "%s: %s is given twice, first at line %d", what, key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		f(key, n.Content[i+1])
	}
}

// keys is group for a mapping of which all keys are known.
func (r *reader) keys(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	r.group(n, what, func(key, value *yaml.Node) {
		f, ok := known[key.Value]
		if !ok {
			r.bad(key, "%s has no key %s; use %s", what, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			return
		}
		f(value)
	})
}

// scalar reads a value as text.
func (r *reader) scalar(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		r.bad(n, `%s is %s; it takes one value ("" is none)`, what, kindOf(n))
		return "", false
	}
	return n.Value, true
}

// parsed reads a scalar by parse, whose error says what would be right.
func parsed[T any](r *reader, what string, to *T, parse func(string) (T, error)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		text, ok := r.scalar(n, what)
		if !ok {
			return
		}
		v, err := parse(text)
		if err != nil {
			r.bad(n, "%s: %v", what, err)
			return
		}
		*to = v
	}
}

func text(s string) (string, error) { return s, nil }

func reason(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errors.New("it is empty; say why, for those who come after")
	}
	return s, nil
}

func truth(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func whole(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

func number(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f-f != 0 {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return f, nil
}

func duration(s string) (checks.Duration, error) {
	var d checks.Duration
	err := d.UnmarshalText([]byte(s))
	return d, err //nolint:wrapcheck // it says what would be right
}

// end reads the end of an exemption: a day, which counts as a whole, or a time.
func end(s string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no date such as 2026-03-31, nor a time such as 2026-03-31T18:00:00+01:00", s)
	}
	return at, nil
}

// words reads one value or a list of them.
func (r *reader) words(what string, to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		entries := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			entries = n.Content
		}
		out := make([]string, 0, len(entries))
		for _, e := range entries {
			if s, ok := r.scalar(e, what); ok {
				out = append(out, s)
			}
		}
		*to = out
	}
}
