package http

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// config is what a run was asked to do.
type config struct {
	url       *url.URL
	method    string
	statuses  []string
	content   content
	redirects int
	linkLocal bool
	roots     *x509.CertPool // nil for the system's
	authorize string         // the Authorization header's value, or ""
	origin    string         // the only origin that it is sent to
	secret    checks.Secret
}

func readConfig(env *checks.Env) (*config, error) {
	p := env.Params
	cfg := &config{
		method:    p.String("method"),
		statuses:  p.Strings("status"),
		redirects: int(p.Int("redirects")),
		linkLocal: p.Bool("link_local"),
	}
	var err error
	if cfg.url, err = readURL(p.String("url")); err != nil {
		return nil, fmt.Errorf("parameter url: %w", err)
	}
	if cfg.content, err = readContent(p); err != nil {
		return nil, err
	}
	if file := p.String("ca_file"); file != "" {
		if cfg.roots, err = readRoots(file); err != nil {
			return nil, fmt.Errorf("parameter ca_file: %w", err)
		}
	}
	if err := cfg.readSecret(env); err != nil {
		return nil, err
	}
	return cfg, nil
}

func readURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it can't be read as a URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("it is not http:// or https:// with a host")
	case u.User != nil:
		return nil, errors.New("it holds credentials; give them with the parameter secret")
	}
	return u, nil
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

// readSecret takes the credential. It goes to one origin that the machine's own
// file names: the URL may come from afar, and must not say who gets to see it.
func (cfg *config) readSecret(env *checks.Env) error {
	name := env.Params.String("secret")
	if name == "" {
		return nil
	}
	allowed, err := url.Parse(env.Params.String("secret_origin"))
	if err != nil || allowed.Host == "" {
		return errors.New("parameter secret_origin must say which origin the credential is for, as in https://shop.example.com")
	}
	if cfg.origin = origin(allowed); origin(cfg.url) != cfg.origin {
		return fmt.Errorf("parameter url does not begin with secret_origin, so the credential is not sent to %s", origin(cfg.url))
	}
	if cfg.secret, err = env.Secrets.Secret(name); err != nil {
		return fmt.Errorf("parameter secret: %w", err)
	}
	cfg.authorize = "Bearer " + cfg.secret.Reveal()
	if env.Params.String("secret_type") == "basic" {
		cfg.authorize = "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.secret.Reveal()))
	}
	return nil
}

// origin writes scheme, host and port in one form (RFC 6454 section 4).
func origin(u *url.URL) string {
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port(u))
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// hide takes the credential out of text, in the forms in which it was sent.
func (cfg *config) hide(body []byte) []byte {
	if cfg.authorize == "" {
		return body
	}
	_, sent, _ := strings.Cut(cfg.authorize, " ")
	for _, secret := range append(strings.Split(cfg.secret.Reveal(), ":"), sent) {
		if secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("***"))
		}
	}
	return body
}
