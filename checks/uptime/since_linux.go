package uptime

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// since reads proc_uptime(5), which a container may replace with its own. gopsutil
// would first find out what kind of container or virtual machine this is.
func since(ctx context.Context) (time.Duration, error) {
	data, err := os.ReadFile(hostfs.Proc(ctx, "uptime"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return 0, fmt.Errorf("%q is no number of seconds", first)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
