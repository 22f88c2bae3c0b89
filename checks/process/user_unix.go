//go:build !windows

package process

import (
	"context"
	"fmt"
	"os/user"
	"strconv"

	"github.com/shirou/gopsutil/v3/process"
)

// ownedBy looks the user up once and then compares numbers. A name that is itself a
// number is taken as one.
func ownedBy(name string) (func(context.Context, *process.Process) bool, error) {
	number := name
	if u, err := user.Lookup(name); err == nil {
		number = u.Uid
	}
	uid, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("this machine has no user %q", name)
	}
	return func(ctx context.Context, p *process.Process) bool {
		uids, err := p.UidsWithContext(ctx)
		const effective = 1 // real, effective, saved, file system
		return err == nil && len(uids) > 0 && uint64(uint32(uids[min(effective, len(uids)-1)])) == uid
	}, nil
}
