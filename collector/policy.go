package collector

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/policy"
)

// loadPolicy reads the MSP's layers; without a folder there are the defaults alone.
func loadPolicy(dir string, specs []*checks.Spec) (*policy.Policy, error) {
	var files fs.FS
	if dir != "" {
		files = os.DirFS(dir)
	}
	p, err := policy.Load(files, specs, time.Now())
	if err != nil {
		return nil, fmt.Errorf("the policy in %s: %w", dir, err)
	}
	return p, nil
}

func describePolicy(p *policy.Policy, checkCount int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "the policy is in order: %d layers over the defaults of %d checks", len(p.Layers()), checkCount)
	for _, l := range p.Layers() {
		fmt.Fprintf(&out, "\n  %s", l)
	}
	for _, n := range p.Notices() {
		fmt.Fprintf(&out, "\nnote: %s", n)
	}
	return out.String()
}

// ReloadPolicy reads the policy again and puts it in force. A policy with an error
// changes nothing.
func (c *core) ReloadPolicy(r *http.Request) (string, error) {
	p, err := loadPolicy(c.config.PolicyDir, c.specs)
	if err != nil {
		return "", err
	}
	if err := c.setPolicy(r.Context(), p); err != nil {
		return "", err
	}
	return describePolicy(p, len(c.specs)), c.auth.Record(r.Context(), principal, "policy.reload", c.config.PolicyDir, "", "")
}

func (c *core) setPolicy(ctx context.Context, p *policy.Policy) error {
	if err := c.engine.SetPolicy(ctx, p); err != nil {
		return fmt.Errorf("putting the policy in force: %w", err)
	}
	c.policyMu.Lock()
	c.policy = p
	c.policyMu.Unlock()
	return nil
}

// policyEvery is how often layers that begin or end by date are looked at.
const policyEvery = time.Minute

// followPolicy puts a layer out of force when its time is over.
func (c *core) followPolicy(ctx context.Context) {
	ticker := time.NewTicker(policyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			c.policyMu.Lock()
			p := c.policy
			c.policyMu.Unlock()
			if next := p.NextChange(); next.IsZero() || next.After(now) {
				continue
			}
			if err := c.setPolicy(ctx, p.At(now)); err != nil && ctx.Err() == nil {
				c.log.Error("a layer of policy that ended is still in force", "error", err)
			}
		}
	}
}
