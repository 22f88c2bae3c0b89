package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/mail"
	"os"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/wacht-io/wacht/collector/internal/notify/notice"
)

// client returns how to reach and to sign in to the server.
func (o *Options) client() ([]gomail.Option, error) {
	roots, err := o.roots()
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	out := []gomail.Option{
		gomail.WithTimeout(timeout), gomail.WithoutNoop(),
		gomail.WithTLSConfig(&tls.Config{ServerName: o.Host, MinVersion: tls.VersionTLS12, RootCAs: roots}),
		gomail.WithPort(o.port()),
	}
	switch o.TLS {
	case None:
		out = append(out, gomail.WithTLSPolicy(gomail.NoTLS))
	case Implicit:
		out = append(out, gomail.WithSSL())
	default:
		out = append(out, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if o.plainAddresses() {
		// A mail that asks for SMTPUTF8 (RFC 6531) bounces where a later server has no
		// such thing. Only addresses need it: headers are encoded.
		out = append(out, gomail.WithoutSMTPUTF8())
	}
	if o.Username == "" {
		return out, nil
	}
	password, err := notice.ReadSecret(o.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	return append(out, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
		gomail.WithUsername(o.Username), gomail.WithPassword(string(password))), nil
}

// plainAddresses says whether all addresses are ASCII; the names beside them need not be.
func (o *Options) plainAddresses() bool {
	for _, s := range append([]string{o.From}, o.To...) {
		address, err := mail.ParseAddress(s)
		if err != nil || strings.ContainsFunc(address.Address, func(r rune) bool { return r > unicode.MaxASCII }) {
			return false
		}
	}
	return true
}

func (o *Options) port() int {
	switch {
	case o.Port != 0:
		return o.Port
	case o.TLS == None:
		return 25
	case o.TLS == Implicit:
		return 465
	}
	return 587
}

// roots returns nil for the system's.
func (o *Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", o.CAFile)
	}
	return pool, nil
}
