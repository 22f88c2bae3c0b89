package memory

import (
	"bytes"
	"context"
	"os"
	"strconv"

	"github.com/shirou/gopsutil/v3/mem"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// readSwap takes the sizes from the reading there is, and the counters from
// /proc/vmstat, which gopsutil has no OOM kills from.
func readSwap(ctx context.Context, vm *mem.VirtualMemoryStat) swap {
	s := swap{total: vm.SwapTotal, used: vm.SwapTotal - min(vm.SwapFree, vm.SwapTotal)}
	if data, err := os.ReadFile(hostfs.Proc(ctx, "vmstat")); err == nil {
		s.count(data, float64(os.Getpagesize()))
	}
	return s
}

// count takes the counters from vmstat's lines, each a name and a number of pages
// or events. oom_kill is there since Linux 4.13.
func (s *swap) count(vmstat []byte, pageBytes float64) {
	for line := range bytes.Lines(vmstat) {
		name, number, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		switch string(name) {
		case "pswpin":
			s.in, s.counted = pages(number)*pageBytes, true
		case "pswpout":
			s.out, s.counted = pages(number)*pageBytes, true
		case "oom_kill":
			s.oomKills, s.oomKillsCounted = pages(number), true
		}
	}
}

func pages(number []byte) float64 {
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return float64(n)
}
