package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

// Secrets reads credentials from a folder with one file for each, that only its
// owner can read.
type Secrets struct{ Dir string }

var secretName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxSecretBytes bounds a credential.
const maxSecretBytes = 16 << 10

// Secret returns the content of the file of that name, without the line's end.
func (s Secrets) Secret(name string) (checks.Secret, error) {
	if !secretName.MatchString(name) {
		return checks.Secret{}, fmt.Errorf("%q is no name of a secret", name)
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return checks.Secret{}, fmt.Errorf("opening the secrets of this machine: %w", err)
	}
	defer root.Close()
	path := filepath.Join(s.Dir, name)
	info, err := root.Stat(name)
	if err != nil {
		return checks.Secret{}, fmt.Errorf("secret %s: there is no file %s", name, path)
	}
	switch {
	case !info.Mode().IsRegular() || info.Size() > maxSecretBytes:
		return checks.Secret{}, fmt.Errorf("secret %s: %s is not a file of at most %d bytes", name, path, maxSecretBytes)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return checks.Secret{}, fmt.Errorf("secret %s: others can read %s: run chmod 600 on it", name, path)
	}
	text, err := root.ReadFile(name)
	if err != nil {
		return checks.Secret{}, fmt.Errorf("secret %s: reading %s: %w", name, path, err)
	}
	return checks.NewSecret(strings.TrimRight(string(text), "\r\n")), nil
}
