// Package grafana reads the dashboards and provisioning files beside it, for the tests
// that hold them to what the collector and its checks really have. The dashboards are
// made by packaging/tools/dashboards with Grafana's own types.
package grafana

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:generate go run -C ../tools ./dashboards ../grafana/dashboards

// Dashboard is what a dashboard asks of its data source.
type Dashboard struct {
	UID, Title string
	// Source is the uid of the data source that it uses at first.
	Source    string
	Variables []Variable
	Panels    []Panel
}

// Variable is a choice that the reader has.
type Variable struct {
	Name, Type, Query string
}

// Panel is a graph, table or figure.
type Panel struct {
	Title, Source string
	Queries       []string
}

// file is the part of Grafana's JSON that is read.
type file struct {
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			Current    struct{ Value any }
		}
	}
	Panels []struct {
		Title, Type string
		Datasource  struct{ UID string }
		Targets     []struct{ Expr string }
	}
}

// ReadDashboards returns the dashboards in a folder by the names of their files.
func ReadDashboards(folder string) (map[string]Dashboard, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	all := make(map[string]Dashboard)
	for _, name := range names {
		d, err := readDashboard(name)
		if err != nil {
			return nil, err
		}
		all[filepath.Base(name)] = d
	}
	return all, nil
}

func readDashboard(name string) (Dashboard, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Dashboard{}, fmt.Errorf("reading a dashboard: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return Dashboard{}, fmt.Errorf("reading dashboard %s: %w", name, err)
	}
	d := Dashboard{UID: f.UID, Title: f.Title}
	for _, v := range f.Templating.List {
		query, _ := v.Query.(string)
		d.Variables = append(d.Variables, Variable{v.Name, v.Type, query})
		if v.Type == "datasource" {
			d.Source, _ = v.Current.Value.(string)
		}
	}
	for _, p := range f.Panels {
		if p.Type == "row" {
			continue
		}
		out := Panel{Title: p.Title, Source: p.Datasource.UID}
		for _, target := range p.Targets {
			out.Queries = append(out.Queries, target.Expr)
		}
		d.Panels = append(d.Panels, out)
	}
	return d, nil
}

var labelValues = regexp.MustCompile(`^label_values\((?:(.+), )?([a-z_]+)\)$`)

// LabelValues returns the selector, which may be empty, and the label of a variable
// that offers the values of a label.
func (v Variable) LabelValues() (selector, label string, ok bool) {
	m := labelValues.FindStringSubmatch(v.Query)
	if v.Type != "query" || m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// Fill puts values in the place of a query's variables, as Grafana does.
func Fill(query string, values map[string]string) string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "$"+name, value)
	}
	return strings.NewReplacer(pairs...).Replace(query)
}

// Source is a data source that a provisioning file sets up.
type Source struct {
	Name, UID, Type, URL string
}

// ReadSources returns the data sources of a provisioning file.
func ReadSources(name string) ([]Source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading data sources: %w", err)
	}
	var f struct {
		Datasources []Source
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("reading data sources %s: %w", name, err)
	}
	return f.Datasources, nil
}
