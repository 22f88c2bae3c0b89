package collector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
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

// describePolicy says in words what a policy holds. Unknown are the places in it that
// speak of checks which are neither built in nor, as far as is known, an agent's.
func describePolicy(p *policy.Policy, checkCount int, unknown []policy.Unknown, unfit []string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "the policy is in order: %d layers over the defaults of %d checks", len(p.Layers()), checkCount)
	for _, l := range p.Layers() {
		fmt.Fprintf(&out, "\n  %s", l)
	}
	for _, n := range p.Notices() {
		fmt.Fprintf(&out, "\nnote: %s", n)
	}
	for _, u := range unknown {
		fmt.Fprintf(&out, "\nnote: %s", u)
	}
	for i, text := range unfit {
		if i == maxUnfit {
			fmt.Fprintf(&out, "\nnote: and %d more parts do not fit what agents declare", len(unfit)-i)
			break
		}
		fmt.Fprintf(&out, "\nnote: left out, since it does not fit what agents declare: %s", text)
	}
	return out.String()
}

// maxUnfit bounds what a reload tells of checks that agents declared.
const maxUnfit = 100

// ReloadPolicy reads the policy again and puts it in force. A policy with an error
// changes nothing. Here it is known which checks agents have, so that a name which none
// has, and which looks like a slip of the pen, is an error.
func (c *core) ReloadPolicy(r *http.Request) (string, error) {
	p, err := loadPolicy(c.config.PolicyDir, c.specs)
	if err != nil {
		return "", err
	}
	unknown := c.undeclared(p)
	if err := slips(unknown); err != nil {
		return "", fmt.Errorf("the policy in %s: %w", c.config.PolicyDir, err)
	}
	if err := c.setPolicy(r.Context(), p); err != nil {
		return "", err
	}
	text := describePolicy(p, len(c.specs), unknown, c.engine.Unfit())
	return text, c.auth.Record(r.Context(), principal, "policy.reload", c.config.PolicyDir, "", "")
}

// undeclared lists the places of a policy that speak of checks which no agent declares.
func (c *core) undeclared(p *policy.Policy) []policy.Unknown {
	declared := c.engine.Declared("")
	return slices.DeleteFunc(p.Unknown(), func(u policy.Unknown) bool {
		return slices.ContainsFunc(declared, func(s *checks.Spec) bool { return s.Name == u.Check })
	})
}

func slips(unknown []policy.Unknown) error {
	var errs []error
	for _, u := range unknown {
		if u.Near != "" {
			errs = append(errs, fmt.Errorf("%s: there is no check %s, and no agent has one; %s is meant, probably", u.At, u.Check, u.Near))
		}
	}
	return errors.Join(errs...)
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
