package host

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wacht-io/wacht/plugins/pluginpb"
)

// maxHandshake bounds the line in bytes: a certificate has about 900 in base64.
const maxHandshake = 16 << 10

// handshake is what a plugin tells in its first line.
type handshake struct {
	socket string
	cert   *x509.Certificate
}

// coreVersion is that of go-plugin's own handshake.
const coreVersion = "1"

// parseHandshake reads a plugin's first line. The socket must be in the folder that it
// was given.
func parseHandshake(line, folder string) (handshake, error) {
	fields := strings.Split(strings.TrimSpace(line), "|")
	if len(fields) < 5 || fields[0] != coreVersion {
		return handshake{}, fmt.Errorf("its first line is no handshake as plugin.proto says, but %.80q", line)
	}
	version, err := strconv.Atoi(fields[1])
	switch {
	case err != nil:
		return handshake{}, fmt.Errorf("its version %.20q of the plugin protocol is no number", fields[1])
	case version > pluginpb.Version:
		return handshake{}, fmt.Errorf("it speaks version %d of the plugin protocol and this agent %d: update the agent", version, pluginpb.Version)
	case version < pluginpb.Version:
		return handshake{}, fmt.Errorf("it speaks version %d of the plugin protocol and this agent %d: update the plugin", version, pluginpb.Version)
	case fields[4] != "grpc":
		return handshake{}, fmt.Errorf("it speaks %.20q; an agent speaks grpc", fields[4])
	case fields[2] != "unix" || filepath.Dir(fields[3]) != folder || filepath.Base(fields[3]) == "..":
		return handshake{}, fmt.Errorf("it listens at %.20q %.80q; that must be a unix socket in its own folder", fields[2], fields[3])
	case len(fields) < 6 || fields[5] == "":
		return handshake{}, fmt.Errorf("it has no certificate: it must speak TLS as PLUGIN_CLIENT_CERT asks for")
	}
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fields[5], "="))
	if err != nil {
		return handshake{}, fmt.Errorf("its certificate is no base64: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return handshake{}, fmt.Errorf("its certificate: %w", err)
	}
	return handshake{fields[3], cert}, nil
}

// identity is the agent's for one process of a plugin.
type identity struct {
	cert tls.Certificate
	pem  string
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	const day = 24 * time.Hour
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wacht-agent"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(365 * day),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(text)}, nil
}

// tls trusts the one certificate that the plugin told.
func (id *identity) tls(h handshake) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(h.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{id.cert}, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12,
	}
}
