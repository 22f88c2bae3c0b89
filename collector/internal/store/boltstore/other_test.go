//go:build !linux

package boltstore_test

import "fmt"

func runSystemChild(task, _ string) error { return fmt.Errorf("%q is no task", task) }
