package containers

import (
	"cmp"
	"context"
	"slices"

	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"github.com/wacht-io/wacht/checks"
)

// maxVolumes are told of one by one.
const maxVolumes = 50

// usage is how much room volumes take.
type usage struct {
	count, unused      int
	bytes, unusedBytes int64
	largest            []sized
}

type sized struct {
	name  string
	bytes int64
}

// volumes has the engine measure all volumes.
func (e *engine) volumes(ctx context.Context) (*usage, error) {
	found, err := e.client.DiskUsage(ctx, client.DiskUsageOptions{Volumes: true, Verbose: true})
	if err != nil {
		return nil, err
	}
	return usageOf(found.Volumes.Items), nil
}

// usageOf sums up. A volume of a driver that keeps it elsewhere has no size, and some
// engines count no references.
func usageOf(all []volume.Volume) *usage {
	u := &usage{count: len(all)}
	for i := range all {
		v := &all[i]
		if v.UsageData == nil {
			continue
		}
		size := max(v.UsageData.Size, 0)
		u.bytes += size
		if v.UsageData.RefCount == 0 {
			u.unused++
			u.unusedBytes += size
		}
		if v.UsageData.Size >= 0 {
			u.largest = append(u.largest, sized{cut(v.Name, checks.MaxItemBytes), size})
		}
	}
	slices.SortFunc(u.largest, func(a, b sized) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
	})
	u.largest = u.largest[:min(len(u.largest), maxVolumes)]
	return u
}

func (u *usage) figures(l figures) figures {
	l = l.gauge("volumes", float64(u.count)).
		gauge("volumes_unused", float64(u.unused)).
		gauge("volumes_bytes", float64(u.bytes)).
		gauge("volumes_unused_bytes", float64(u.unusedBytes))
	for _, v := range u.largest {
		l = l.gauge("volume_size_bytes", float64(v.bytes), checks.Label{Name: "volume", Value: v.name})
	}
	return l
}
