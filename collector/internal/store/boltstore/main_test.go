package boltstore_test

import (
	"fmt"
	"os"
	"testing"
)

// childTask names what the test binary does instead of tests, when a test started it
// as a process of its own.
const childTask = "WACHT_BOLTSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	task, asked := os.LookupEnv(childTask)
	if !asked {
		os.Exit(m.Run())
	}
	if err := runChild(task, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runChild(task, path string) error {
	switch task {
	case "commit":
		return commitForEver(path)
	case "hold":
		return hold(path)
	}
	return runSystemChild(task, path)
}
