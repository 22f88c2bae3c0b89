package process

import (
	"context"
	"strings"

	"github.com/shirou/gopsutil/v3/process"
)

// ownedBy compares names, DOMAIN\user or the user alone.
func ownedBy(name string) (func(context.Context, *process.Process) bool, error) {
	return func(ctx context.Context, p *process.Process) bool {
		owner, err := p.UsernameWithContext(ctx)
		if err != nil {
			return false
		}
		_, alone, _ := strings.Cut(owner, `\`)
		return strings.EqualFold(owner, name) || strings.EqualFold(alone, name)
	}, nil
}
