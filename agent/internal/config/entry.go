package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// putEntry puts an entry, a line of text, into a section of a file's text: in the place
// of the one of that name, else before the others. The rest of the text stays as it is.
func putEntry(path string, data []byte, section, name, text string) ([]byte, error) {
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(data) == 0 {
		lines = nil
	}
	at, old, err := findEntry(data, section, name)
	if err != nil {
		return nil, located(path, err)
	}
	switch {
	case at == nil:
		lines = append(lines, section+":", "  "+text)
	case at.Kind == yaml.ScalarNode && at.Tag == "!!null":
		lines = slices.Insert(lines, at.Line, "  "+text)
	case at.Style&yaml.FlowStyle != 0 || at.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: write %s one to a line, each under the other", path, at.Line, section)
	case old != nil:
		lines = slices.Replace(lines, old.Line-1, old.end, strings.Repeat(" ", old.Column-1)+text)
	default:
		first := at.Content[0]
		lines = slices.Insert(lines, first.Line-1, strings.Repeat(" ", first.Column-1)+text)
	}
	out := []byte(strings.Join(lines, "\n") + "\n")
	if _, err := Parse(path, out, nil); err != nil {
		return nil, fmt.Errorf("the file would be wrong with the entry in it: %w", err)
	}
	return out, nil
}

// found is where an entry is.
type found struct {
	*yaml.Node
	end int // its last line
}

func findEntry(data []byte, name, entry string) (section *yaml.Node, _ *found, err error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil || len(doc.Content) == 0 {
		if len(bytes.TrimSpace(data)) > 0 && err != nil && err.Error() != "EOF" {
			return nil, nil, err
		}
		return nil, nil, nil
	}
	if section = valueOf(doc.Content[0], name); section == nil || section.Kind != yaml.MappingNode {
		return section, nil, nil
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		if key := section.Content[i]; key.Value == entry {
			return section, &found{key, lastLine(section.Content[i+1])}, nil
		}
	}
	return section, nil, nil
}

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
