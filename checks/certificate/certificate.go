// Package certificate checks the certificates that servers show and that files
// hold: whether they would be accepted, how long they still are, and how strong
// their key is. Revocation is not looked up.
package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/metric"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

type check struct{ spec *checks.Spec }

// New returns the check.
func New() checks.Check { return &check{checks.MustDeclaration("certificate")} }

// Spec returns the check's declaration.
func (c *check) Spec() *checks.Spec { return c.spec }

// Discover finds nothing: only a person knows which certificates matter.
func (*check) Discover(context.Context, *checks.Env) ([]checks.Instance, error) { return nil, nil }

// config is what a run was asked to do.
type config struct {
	endpoints, files []string
	starttls         string
	serverName       string
	roots            *x509.CertPool // nil for the system's
}

func readConfig(p checks.Params) (*config, error) {
	cfg := &config{
		endpoints:  unique(p.Strings("endpoints")),
		files:      unique(p.Strings("files")),
		starttls:   p.String("starttls"),
		serverName: p.String("server_name"),
	}
	if len(cfg.endpoints)+len(cfg.files) == 0 {
		return nil, errors.New("parameters endpoints and files: one of them needs a value")
	}
	for _, endpoint := range cfg.endpoints {
		if _, _, err := outward.SplitHostPort(endpoint); err != nil {
			return nil, fmt.Errorf("parameter endpoints: %w", err)
		}
	}
	if file := p.String("ca_file"); file != "" {
		certs, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("parameter ca_file: %w", err)
		}
		cfg.roots = pool(certs)
	}
	return cfg, nil
}

func unique(list []string) []string {
	seen := make(map[string]bool, len(list))
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

// Run looks at every endpoint and file.
func (c *check) Run(ctx context.Context, env *checks.Env) (checks.Run, error) {
	cfg, err := readConfig(env.Params)
	if err != nil {
		return checks.Run{}, err
	}
	ctx, cancel := outward.Deadline(ctx)
	defer cancel()
	now := time.Now()
	results := make([]checks.Result, len(cfg.endpoints)+len(cfg.files))
	outward.Each(len(results), func(i int) {
		if i < len(cfg.endpoints) {
			results[i] = cfg.endpoint(ctx, cfg.endpoints[i], now)
		} else {
			results[i] = cfg.file(cfg.files[i-len(cfg.endpoints)], now)
		}
	})
	if len(results) == 1 {
		results[0].Item = "" // the instance's name says it
	}
	return checks.Run{Results: results, Complete: true}, nil
}

// result describes a chain, the server's own certificate first. A chain that no
// authority was found for may be incomplete; it is described all the same.
func result(item string, chain []*x509.Certificate, now time.Time, steps *outward.Steps) checks.Result {
	var l metric.List = steps.Metrics()
	r := checks.Result{Item: item}
	if len(chain) > 0 {
		first := firstToExpire(chain)
		k := keyOf(chain[0])
		l.Gauge("remaining_seconds", first.NotAfter.Sub(now).Seconds())
		l.Gauge("lifetime_seconds", first.NotAfter.Sub(first.NotBefore).Seconds())
		l.Gauge("key_size", float64(k.bits))
		l.Gauge("key_strength", float64(k.strength))
		r.Summary = describe(chain[0], first, k, now)
		r.Evidence = evidence(chain)
	}
	r.Metrics = l
	if steps.Err() != nil {
		r.Status, r.Summary = checks.Critical, steps.Summary()
	} else {
		r.Evidence = ""
	}
	return r
}

func firstToExpire(chain []*x509.Certificate) *x509.Certificate {
	first := chain[0]
	for _, cert := range chain[1:] {
		if cert.NotAfter.Before(first.NotAfter) {
			first = cert
		}
	}
	return first
}

func describe(own, first *x509.Certificate, k key, now time.Time) string {
	left := "expired " + text.Duration(now.Sub(first.NotAfter)) + " ago"
	if first.NotAfter.After(now) {
		left = "valid for " + text.Duration(first.NotAfter.Sub(now))
	}
	if first != own {
		left += " (by " + subject(first) + ")"
	}
	return text.Line(fmt.Sprintf("%s, %s, %s, issued by %s", subject(own), left, k, issuer(own)))
}

func subject(cert *x509.Certificate) string {
	switch {
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	}
	return cert.Subject.String()
}

func issuer(cert *x509.Certificate) string {
	if cert.Issuer.CommonName != "" {
		return cert.Issuer.CommonName
	}
	return cert.Issuer.String()
}

// evidence lists the certificates that were shown.
func evidence(chain []*x509.Certificate) string {
	const most = 8
	var out strings.Builder
	for i, cert := range chain[:min(len(chain), most)] {
		out.WriteString(text.Line(fmt.Sprintf("%d: %s, issued by %s, from %s to %s", i, cert.Subject, cert.Issuer,
			cert.NotBefore.UTC().Format(time.DateOnly), cert.NotAfter.UTC().Format(time.DateOnly))) + "\n")
	}
	return text.Cut(out.String(), checks.MaxEvidenceBytes)
}
