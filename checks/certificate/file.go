package certificate

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/wacht-io/wacht/checks"
	"github.com/wacht-io/wacht/checks/internal/outward"
	"github.com/wacht-io/wacht/checks/internal/text"
)

// maxFile bounds the size of a file with certificates; the system's own bundle of
// authorities has some 250 KB.
const maxFile = 1 << 20

// file looks at the certificates in a file.
func (cfg *config) file(path string, now time.Time) checks.Result {
	certs, err := readFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return checks.Result{Item: path, Status: checks.Unknown, Summary: text.Line(err.Error())}
	}
	if err == nil {
		err = cfg.verifyFile(certs, now)
	}
	var steps outward.Steps
	if err != nil {
		steps.Fail("verify", err)
	}
	return result(path, certs, now, &steps)
}

func (cfg *config) verifyFile(certs []*x509.Certificate, now time.Time) error {
	for _, cert := range certs {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return fmt.Errorf("the certificate of %s is valid from %s to %s", subject(cert),
				cert.NotBefore.UTC().Format(time.DateTime), cert.NotAfter.UTC().Format(time.DateTime))
		}
	}
	if cfg.serverName != "" {
		if err := certs[0].VerifyHostname(cfg.serverName); err != nil {
			return err
		}
	}
	if cfg.roots == nil {
		return nil
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots: cfg.roots, Intermediates: pool(certs[1:]), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// readFile returns at least one certificate, or an error.
func readFile(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening certificates: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading certificates: %w", err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	certs, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

// parse reads the certificates among the PEM blocks (RFC 7468) of data.
func parse(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be read: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in PEM form")
	}
	return certs, nil
}
