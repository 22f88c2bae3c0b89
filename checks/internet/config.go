package internet

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// page is one that is asked for, with a text that it holds.
type page struct {
	url   *url.URL
	holds string
}

// config is what a run was asked to do.
type config struct {
	providers []page
	portal    page
	roots     *x509.CertPool // nil for the system's
}

// maxProviders is how many providers there may be: each is asked at every run.
const maxProviders = 8

func readConfig(p checks.Params) (*config, error) {
	cfg := &config{}
	for _, value := range p.Strings("providers") {
		found, err := readPage(value)
		if err != nil {
			return nil, fmt.Errorf("parameter providers: %w", err)
		}
		cfg.providers = append(cfg.providers, found)
	}
	if n := len(cfg.providers); n > maxProviders {
		return nil, fmt.Errorf("parameter providers: %d are given; at most %d are asked", n, maxProviders)
	}
	var err error
	if cfg.portal, err = readPage(p.String("portal")); err != nil {
		return nil, fmt.Errorf("parameter portal: %w", err)
	}
	if file := p.String("ca_file"); file != "" {
		if cfg.roots, err = readRoots(file); err != nil {
			return nil, fmt.Errorf("parameter ca_file: %w", err)
		}
	}
	return cfg, nil
}

func readPage(value string) (page, error) {
	address, holds, _ := strings.Cut(value, " ")
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return page{}, fmt.Errorf("%q is no URL with a host", address)
	}
	return page{u, strings.TrimSpace(holds)}, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}
