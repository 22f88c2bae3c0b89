package builtin_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/builtin"
	"github.com/wacht-io/wacht/checks/probed"
)

// Every check is compiled into the agent or served by wacht-probe, and not both.
func TestEveryFolderIsInATable(t *testing.T) {
	files, err := filepath.Glob("../*/check.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no declaration found beside this folder: %v", err)
	}
	inTable := namesOf(t, builtin.All(builtin.Options{}))
	inTable = append(inTable, namesOf(t, probed.All())...)
	for _, file := range files {
		folder := filepath.Base(filepath.Dir(file))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := checks.ParseSpec(data)
		switch {
		case err != nil:
			t.Errorf("%s: %v", file, err)
		case spec.Name != folder:
			t.Errorf("%s declares the name %q; it must be its folder's", file, spec.Name)
		case !slices.Contains(inTable, folder):
			t.Errorf("checks/%s is missing from the tables in builtin.go and in ../probed/probed.go", folder)
		}
	}
	if len(inTable) != len(files) {
		t.Errorf("%d checks in the tables, but %d folders with a check.yaml", len(inTable), len(files))
	}
}

func namesOf(t *testing.T, table []checks.Check) []string {
	t.Helper()
	var names []string
	for _, c := range table {
		names = append(names, c.Spec().Name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("a table is not sorted by name: %q", names)
	}
	return names
}

func TestByName(t *testing.T) {
	if c := builtin.ByName(builtin.Options{}, "disk"); c == nil || c.Spec().Name != "disk" {
		t.Errorf("ByName(disk) = %v", c)
	}
	if c := builtin.ByName(builtin.Options{}, "no such check"); c != nil {
		t.Errorf("ByName of an unknown check = %v", c)
	}
}
