// Package policy is the MSP's configuration of what is checked and when a result is
// a breach, in layers: the declarations' defaults, then the MSP's, a customer's, a
// site's, a label's or role's, a host's, an item's. The higher layer has the last
// word on every single value, and each value knows its origin. Layers of the same
// kind follow the order of file names and of their place in the file.
//
// A policy is a folder of YAML files, each a list of layers:
//
//	# acme.yaml
//	- match: {customer: acme, labels: {tier: [gold, silver]}}
//	  checks:
//	    "*": {interval: 30s}
//	    disk: {params: {exclude: [/mnt/backup]}}
//	    http/webshop: {params: {url: https://shop.example.org}}
//	  rules:
//	    disk:
//	      space: {critical: free_bytes < 5 * GiB, for: 10m}
//	      inodes: {disabled: true, reason: a mail spool, until: 2026-03-31}
//	  forecasts:
//	    disk:
//	      full: {within: 14d}
//
// An exemption is a layer, or a rule in one, with a reason and an end.
//
// A layer may also speak of a check that is not built in, as an agent's plugin brings
// it. Which such checks there are, and what they measure, differs from host to host, so
// that it can't be verified by the files alone: see Unknown. For each declaration that
// an agent brought, Foreign makes the rules that hold by it; what the layers say that
// does not fit is left out there and told, and the declaration's own rules hold. So no
// agent can make a policy invalid, and a policy that is in force stays valid whatever
// agents come and go.
package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/collector/internal/rules"
)

// Policy is a policy as of one time: what has ended by then is not in it. It does
// not change, and is safe for concurrent use.
type Policy struct {
	specs   []*checks.Spec // built in, by name
	layers  []*layer       // lowest first, all
	all     *rules.Book    // with what has ended
	asOf    time.Time
	book    *rules.Book
	unknown []Unknown
}

// Load reads the *.yaml and *.yml files at the root of fsys; an absent folder, or a
// nil fsys, is a policy without layers. The error joins all that is wrong, each as
// file:line: what, and what would be right.
func Load(fsys fs.FS, decls []*checks.Spec, now time.Time) (*Policy, error) {
	p := &Policy{specs: slices.SortedFunc(slices.Values(decls), func(a, b *checks.Spec) int { return strings.Compare(a.Name, b.Name) })}
	var errs []error
	if fsys != nil {
		errs = p.read(fsys)
	}
	slices.SortStableFunc(p.layers, func(a, b *layer) int { return a.match.rank() - b.match.rank() })
	errs = append(errs, p.compile()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p.At(now), nil
}

func (p *Policy) read(fsys fs.FS) []error {
	var names []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, err := fs.Glob(fsys, pattern)
		if err != nil {
			return []error{fmt.Errorf("listing policy files: %w", err)}
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading policy: %w", err))
			continue
		}
		r := &reader{file: name}
		p.layers = append(p.layers, r.layers(data)...)
		errs = append(errs, r.errs...)
	}
	return errs
}

// compile verifies the layers against the declarations and makes the book.
func (p *Policy) compile() []error {
	decls := make([]rules.Declaration, len(p.specs))
	for i, s := range p.specs {
		decls[i] = rules.Declaration{Spec: s, At: places(s)}
	}
	book := make([]rules.Layer, len(p.layers))
	var errs []error
	for i, l := range p.layers {
		book[i] = l.ruleLayer()
		errs = append(errs, p.verify(l)...)
	}
	var err error
	if p.all, err = rules.NewBook(decls, book); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func (p *Policy) spec(check string) *checks.Spec {
	for _, s := range p.specs {
		if s.Name == check {
			return s
		}
	}
	return nil
}

// At is the policy as of a time. Everything that Load took in counts again, so that
// it may also go back.
func (p *Policy) At(now time.Time) *Policy {
	out := *p
	out.asOf, out.book = now, p.all.At(now)
	return &out
}

// NextChange is when a layer or a part of one ends next, and At needs to be called
// again; zero is never.
func (p *Policy) NextChange() time.Time {
	var next time.Time
	for _, l := range p.layers {
		for _, at := range l.ends() {
			if at.After(p.asOf) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// Foreign is what judges the results of one check that agents of a customer declared:
// the declaration's own rules, and what layers for that customer say of them. Unfit
// tells, with file and line, what of the layers is left out because it does not fit the
// declaration. An error is the declaration's own fault.
func (p *Policy) Foreign(customer string, d rules.Declaration) (book *rules.Book, unfit []string, err error) {
	var layers []rules.Layer
	for _, l := range p.layers {
		if !fits(l.match.customer, customer) || !l.active(p.asOf) {
			continue
		}
		layers = append(layers, l.ruleLayer())
		for name, patch := range l.tasks {
			if name.check == d.Spec.Name {
				unfit = append(unfit, texts(verifyParams(d.Spec, patch))...)
			}
		}
	}
	book, errs, err := rules.NewForeignBook(d, layers)
	if err != nil {
		return nil, nil, err
	}
	unfit = append(unfit, texts(errs)...)
	slices.Sort(unfit)
	return book.At(p.asOf), slices.Compact(unfit), nil
}

func texts(errs []error) []string {
	out := make([]string, len(errs))
	for i, err := range errs {
		out[i] = err.Error()
	}
	return out
}

func (l *layer) ruleLayer() rules.Layer {
	return rules.Layer{Matches: l.match.fits, Until: l.until, Rules: l.rules, Forecasts: l.forecasts}
}

// Book is what judges the results of the built-in checks.
func (p *Policy) Book() *rules.Book { return p.book }

// Notices are what is not wrong but may not be meant, each with file and line.
func (p *Policy) Notices() []string {
	var out []string
	for _, l := range p.layers {
		if !l.active(p.asOf) {
			out = append(out, fmt.Sprintf("%s: this layer ended at %s; it can be removed", l.at, l.until.Format(time.RFC3339)))
		}
	}
	return out
}

// LayerInfo describes one layer, for people.
type LayerInfo struct {
	// Level is msp, customer, site, label, host or item.
	Level  string    `json:"level"`
	Match  string    `json:"match"`
	File   string    `json:"file"`
	Line   int       `json:"line"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Ended  bool      `json:"ended,omitempty"`
	// Checks, Rules and Forecasts count what the layer changes.
	Checks    int `json:"checks"`
	Rules     int `json:"rules"`
	Forecasts int `json:"forecasts"`
}

// String is one line of a summary.
func (l LayerInfo) String() string {
	s := fmt.Sprintf("%s:%d: %s layer for %s: %d checks, %d rules, %d forecasts",
		l.File, l.Line, l.Level, l.Match, l.Checks, l.Rules, l.Forecasts)
	if !l.Until.IsZero() {
		s += ", until " + l.Until.Format(time.RFC3339)
	}
	if l.Reason != "" {
		s += " (" + l.Reason + ")"
	}
	if l.Ended {
		s += ", ended"
	}
	return s
}

// Layers lists the layers, lowest first, those that have ended too.
func (p *Policy) Layers() []LayerInfo {
	out := make([]LayerInfo, len(p.layers))
	for i, l := range p.layers {
		out[i] = LayerInfo{
			Level: l.at.Layer, Match: l.match.String(), File: l.at.File, Line: l.at.Line,
			Reason: l.reason, Until: l.until, Ended: !l.active(p.asOf),
			Checks: len(l.tasks), Rules: count(l.rules), Forecasts: count(l.forecasts),
		}
	}
	return out
}

func count(section map[string]map[string]rules.Patch) int {
	n := 0
	for _, patches := range section {
		n += len(patches)
	}
	return n
}
