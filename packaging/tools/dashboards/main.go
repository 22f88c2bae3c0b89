// Command dashboards writes Wacht's Grafana dashboards into a folder. It builds them
// with Grafana's own types, so that a field that Grafana does not know does not compile.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	for name, builder := range map[string]*dashboard.DashboardBuilder{
		"wacht-overview": overview(), "wacht-host": host(), "wacht-collector": collector(),
	} {
		built, err := builder.Build()
		if err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
		text, err := json.MarshalIndent(built, "", "  ")
		if err != nil {
			return fmt.Errorf("writing %s as JSON: %w", name, err)
		}
		file := filepath.Join(folder, name+".json")
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing dashboard %s: %w", name, err)
		}
	}
	return nil
}
