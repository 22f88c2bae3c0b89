package cpu

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// readLoad reads proc_loadavg(5) itself: gopsutil reads all of /proc/stat for the
// run queue, which the kernel sums over every processor and interrupt.
func readLoad(ctx context.Context) (load, bool) {
	data, err := os.ReadFile(hostfs.Proc(ctx, "loadavg"))
	if err != nil {
		return load{}, false
	}
	return parseLoad(string(data))
}

// parseLoad reads a line such as "0.52 0.58 0.59 2/1025 4711".
func parseLoad(line string) (load, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return load{}, false
	}
	fields[3], _, _ = strings.Cut(fields[3], "/")
	var n [4]float64
	for i := range n {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || v < 0 {
			return load{}, false
		}
		n[i] = v
	}
	return load{one: n[0], five: n[1], fifteen: n[2], running: n[3]}, true
}
