package declaration

import (
	"go.yaml.in/yaml/v3"

	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Places finds where a declaration says what: each value's line in the file, which is
// named as people are to read it. Of a text that is no YAML only the file is known.
func Places(file string, data []byte) func(section, name, field string) rules.Origin {
	origin := rules.Origin{Layer: "default", File: file}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return func(string, string, string) rules.Origin { return origin }
	}
	return func(section, name, field string) rules.Origin {
		o := origin
		if list := valueOf(doc.Content[0], section); list != nil {
			for _, entry := range list.Content {
				if n := valueOf(entry, "name"); n != nil && n.Value == name {
					o.Line = entry.Line
					if v := valueOf(entry, field); v != nil {
						o.Line = v.Line
					}
				}
			}
		}
		return o
	}
}

// valueOf returns the value of a mapping's key, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
