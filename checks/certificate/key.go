package certificate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

// key says what kind of public key a certificate has and what it is worth.
type key struct {
	kind     string
	bits     int
	strength int // by NIST SP 800-57 part 1 revision 5, table 2
}

// String writes the kind and size: RSA 2048.
func (k key) String() string { return fmt.Sprintf("%s %d", k.kind, k.bits) }

func keyOf(cert *x509.Certificate) key {
	switch pub := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := pub.N.BitLen()
		return key{"RSA", bits, rsaStrength(bits)}
	case *ecdsa.PublicKey:
		bits := pub.Curve.Params().BitSize
		return key{"ECDSA", bits, bits / 2}
	case ed25519.PublicKey:
		return key{"Ed25519", 256, 128}
	}
	return key{kind: "key of an unknown kind"}
}

func rsaStrength(bits int) int {
	switch {
	case bits >= 15360:
		return 256
	case bits >= 7680:
		return 192
	case bits >= 3072:
		return 128
	case bits >= 2048:
		return 112
	case bits >= 1024:
		return 80
	}
	return 0
}
