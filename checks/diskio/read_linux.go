package diskio

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/wacht-io/wacht/checks/internal/hostfs"
)

// sectorBytes is the unit of diskstats, whatever the drive's own is.
const sectorBytes = 512

// read parses /proc/diskstats itself, since gopsutil looks each partition's serial
// number and label up in udev's files at every reading.
// https://docs.kernel.org/admin-guide/iostats.html
func read(ctx context.Context) (map[string]counters, error) {
	data, err := os.ReadFile(hostfs.Proc(ctx, "diskstats"))
	if err != nil {
		return nil, fmt.Errorf("reading the drives' counters: %w", err)
	}
	drives := make(map[string]counters)
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 14 || !physical(ctx, fields[2]) {
			continue
		}
		c, err := parse(fields[3:14])
		if err != nil {
			return nil, fmt.Errorf("reading the counters of drive %s: %w", fields[2], err)
		}
		drives[fields[2]] = c
	}
	return drives, nil
}

// physical tells drives from partitions, which have no folder in /sys/block, and
// from what the kernel makes of other drives (dm, md, loop, zram), which has no
// device. Optical and floppy drives are left out.
func physical(ctx context.Context, name string) bool {
	for _, other := range []string{"loop", "ram", "dm-", "md", "zram", "sr", "fd"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	// A name may hold a slash (cciss/c0d0), which sysfs writes as !.
	_, err := os.Lstat(hostfs.Sys(ctx, "block", strings.ReplaceAll(name, "/", "!"), "device"))
	return err == nil
}

// parse reads the first eleven figures. Later kernels add those of discards and
// flushes.
func parse(fields []string) (counters, error) {
	var n [11]uint64
	for i := range n {
		v, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return counters{}, fmt.Errorf("figure %d: %w", i+1, err)
		}
		n[i] = v
	}
	return counters{
		reads: n[0], readBytes: n[2] * sectorBytes,
		writes: n[4], writtenBytes: n[6] * sectorBytes,
		timed: true, readTime: uint32(n[3]), writeTime: uint32(n[7]),
		busyTime: uint32(n[9]), queueTime: uint32(n[10]),
	}, nil
}
