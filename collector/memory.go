package collector

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent is by how much, in percent, the heap grows before it is collected. Much of
// the live heap is history's newest samples, and marking them takes processors for a
// tenth of a second, in which acknowledgements and notices wait; this often it is rare
// enough not to be the slowest of a hundred.
const gcPercent = 400

// memoryRatio is the part of the machine's or control group's memory that may be used
// before it is collected more often than that. The system needs the rest to cache
// history's blocks.
const memoryRatio = 0.6

// TuneMemory sets how this process collects garbage to what suits a collector, where
// the environment says nothing else by GOGC and GOMEMLIMIT
// (https://pkg.go.dev/runtime#hdr-Environment_Variables). It belongs in main: the
// setting is one for all that runs in the process.
func TuneMemory() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limit := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)
	if _, err := memlimit.Set(memlimit.WithProvider(limit), memlimit.WithRatio(memoryRatio)); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	return nil
}
