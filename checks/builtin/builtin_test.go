package builtin_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/builtin"
)

func TestEveryFolderIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("../*/check.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no declaration found beside this folder: %v", err)
	}
	var inTable []string
	for _, c := range builtin.All(builtin.Options{}) {
		inTable = append(inTable, c.Spec().Name)
	}
	if !slices.IsSorted(inTable) {
		t.Errorf("the table is not sorted by name: %q", inTable)
	}
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
			t.Errorf("checks/%s is missing from the table in builtin.go", folder)
		}
	}
	if len(inTable) != len(files) {
		t.Errorf("%d checks in the table, but %d folders with a check.yaml", len(inTable), len(files))
	}
}

func TestByName(t *testing.T) {
	if c := builtin.ByName(builtin.Options{}, "disk"); c == nil || c.Spec().Name != "disk" {
		t.Errorf("ByName(disk) = %v", c)
	}
	if c := builtin.ByName(builtin.Options{}, "no such check"); c != nil {
		t.Errorf("ByName of an unknown check = %v", c)
	}
}
