//go:build !linux

package disk

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v3/disk"
)

// mounts takes gopsutil's list. Recovery partitions of Windows have no drive
// letter and are not in it; macOS shows the parts of its system volume one by one
// under /System/Volumes, which all share the space of /.
func mounts(ctx context.Context) ([]mount, error) {
	all, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		return nil, err
	}
	chosen := make([]mount, 0, len(all))
	for _, p := range all {
		if !holdsData(p) {
			continue
		}
		chosen = append(chosen, mount{
			id:       p.Device,
			point:    p.Mountpoint,
			device:   p.Device,
			kind:     p.Fstype,
			readOnly: slices.Contains(p.Opts, "ro"),
		})
	}
	return chosen, nil
}

func holdsData(p disk.PartitionStat) bool {
	switch strings.ToLower(p.Fstype) {
	case "cdfs", "udf", "cd9660", "devfs", "autofs", "nullfs":
		return false
	}
	return !strings.HasPrefix(p.Mountpoint, "/System/Volumes/")
}

func ask(m mount) (usage, error) {
	u, err := disk.Usage(m.point)
	if err != nil {
		return usage{}, err
	}
	return usage{size: u.Total, free: u.Free, inodes: u.InodesTotal, inodesFree: u.InodesFree}, nil
}

func unreachable(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func refused(err error) bool { return errors.Is(err, fs.ErrPermission) }
