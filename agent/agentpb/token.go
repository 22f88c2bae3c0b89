// Package agentpb is the contract between agents and a collector: the stream's
// messages, the joining token, and how a certificate names its host.
package agentpb

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/url"
	"strings"
)

// ProtocolVersion is the version of this contract that the Hello carries.
const ProtocolVersion = 1

// ServerName is the name that every collector's certificate for agents carries,
// whatever address it is reached by: an agent trusts the authority that its token
// pinned, not the name system.
const ServerName = "collector.wacht.internal"

// TokenPrefix starts every joining token, so that people and secret scanners know
// one when they see it.
const TokenPrefix = "wacht1_"

// Token is what a machine joins with. Its text is TokenPrefix followed by the
// unpadded base64url (RFC 4648 §5) of
//
//	16 bytes  ID
//	16 bytes  Secret
//	32 bytes  Pin
//	 4 bytes  CRC-32 (IEEE, big endian) of the 64 bytes before
//
// The checksum tells a slip of the hand from a token that the collector does not know.
type Token struct {
	// ID finds the token at the collector, which holds only a hash of the secret.
	ID     [16]byte
	Secret [16]byte
	// Pin is the SHA-256 of the SubjectPublicKeyInfo of the collector's authority.
	Pin [sha256.Size]byte
}

const tokenBytes = 16 + 16 + sha256.Size + 4

// String returns the token as it is handed to a person, secret included.
func (t Token) String() string {
	b := make([]byte, 0, tokenBytes)
	b = append(b, t.ID[:]...)
	b = append(b, t.Secret[:]...)
	b = append(b, t.Pin[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// LogValue names the token by its id in a log, without the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.GoString()) }

// GoString hides the secret from %#v.
func (t Token) GoString() string { return fmt.Sprintf("token %x…", t.ID[:4]) }

// ParseToken reads a token's text, with white space around it. The error says
// whether the text is no token at all or one that was copied wrongly; it never
// repeats the text.
func ParseToken(text string) (Token, error) {
	var t Token
	body, ok := strings.CutPrefix(strings.TrimSpace(text), TokenPrefix)
	if !ok {
		return t, fmt.Errorf("this is not a joining token: one starts with %s", TokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != tokenBytes {
		return t, errors.New("the joining token is incomplete or was mistyped: copy it again as a whole")
	}
	n := tokenBytes - 4
	if crc32.ChecksumIEEE(b[:n]) != binary.BigEndian.Uint32(b[n:]) {
		return t, errors.New("the joining token was mistyped: copy it again as a whole")
	}
	copy(t.ID[:], b)
	copy(t.Secret[:], b[16:])
	copy(t.Pin[:], b[32:])
	return t, nil
}

// Pin returns the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280
// §4.1.2.7), by which a token names the collector's authority.
func Pin(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

const hostURIPrefix = "wacht://host/"

// HostURI is the subject alternative name by which a certificate names its host.
func HostURI(hostID string) *url.URL {
	return &url.URL{Scheme: "wacht", Host: "host", Path: "/" + hostID}
}

// HostID returns the host that a certificate was given to, from its one URI of
// the form that HostURI makes.
func HostID(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) != 1 {
		return "", fmt.Errorf("the certificate names %d URIs; a host's names one", len(cert.URIs))
	}
	id, ok := strings.CutPrefix(cert.URIs[0].String(), hostURIPrefix)
	if !ok || id == "" || strings.ContainsAny(id, "/?#") {
		return "", fmt.Errorf("the certificate's URI %q is not that of a host", cert.URIs[0])
	}
	return id, nil
}
