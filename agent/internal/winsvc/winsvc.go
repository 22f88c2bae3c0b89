// Package winsvc makes the agent a service of Windows: it installs, controls and
// runs it, gives it an account with few rights and folders that nobody else reads,
// and writes its log to the Event Log.
//
// The service runs as its virtual account, NT SERVICE\WachtAgent. It has no password,
// is no administrator, and, unlike LocalService, is nobody else's: what only the
// account may read, no other service can. Its checks get by with what every user may
// ask of the system; drives' own accounts of their health need an administrator, and
// are not had.
package winsvc

import (
	"crypto/sha1" //nolint:gosec // Windows computes a service's SID so
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Name is the service's name, and its source in the Event Log.
const Name = "WachtAgent"

// SID is the security identifier of a service's virtual account: the SHA-1 of the
// name in capitals, as five numbers
// (https://learn.microsoft.com/openspecs/windows_protocols/ms-lsat, S-1-5-80).
func SID(service string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(strings.ToUpper(service))) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	sum := sha1.Sum(b) //nolint:gosec // as above
	var text strings.Builder
	text.WriteString("S-1-5-80")
	for part := sum[:]; len(part) > 0; part = part[4:] {
		fmt.Fprintf(&text, "-%d", binary.LittleEndian.Uint32(part))
	}
	return text.String()
}

// Access lists of the folders. Each is protected: what the folder above grants does
// not count. SYSTEM and administrators may do everything
// (https://learn.microsoft.com/windows/win32/secauthz/ace-strings).
const (
	systemAndAdmins = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	mayRead         = "0x1200a9" // FILE_GENERIC_READ | FILE_GENERIC_EXECUTE
	mayModify       = "0x1301bf" // and FILE_GENERIC_WRITE | DELETE
)

// readable is for configuration and credentials: the service reads them.
func readable() string { return grant(mayRead) }

// writable is for the state folder, which the service keeps.
func writable() string { return grant(mayModify) }

func grant(rights string) string {
	return fmt.Sprintf("%s(A;OICI;%s;;;%s)", systemAndAdmins, rights, SID(Name))
}
