package command

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wacht-io/wacht/checks"
)

var secretRE = regexp.MustCompile(`\$\{secret:([^}]*)\}`)

// hidden are texts that must not leave the machine.
type hidden []string

// expand puts secrets into arguments, for ${secret:NAME}. What it returns besides
// takes them out of what the program says.
func expand(args []string, secrets checks.Secrets) (out []string, hide hidden, err error) {
	out = make([]string, len(args))
	for i, arg := range args {
		out[i] = secretRE.ReplaceAllStringFunc(arg, func(ref string) string {
			name := secretRE.FindStringSubmatch(ref)[1]
			secret, lookErr := secrets.Secret(name)
			if lookErr != nil {
				err = errors.Join(err, lookErr)
				return ""
			}
			text := secret.Reveal()
			if text == "" {
				err = errors.Join(err, fmt.Errorf("secret %s is empty", name))
			}
			hide = append(hide, forms(text)...)
			return text
		})
		if out[i] != arg {
			hide = append(hide, encoded(out[i])...) // as user:password goes into a header
		}
	}
	// The longest first: what is left of one of which another is a part would tell it.
	slices.SortFunc(hide, func(a, b string) int { return len(b) - len(a) })
	return out, hide, err
}

// forms are the ways in which programs repeat a secret.
func forms(secret string) []string {
	query := url.QueryEscape(secret)
	return append(encoded(secret), secret, query, strings.ReplaceAll(query, "+", "%20"), url.PathEscape(secret))
}

// encoded is a text in base64 (RFC 4648), with and without padding.
func encoded(text string) []string {
	var out []string
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		out = append(out, e.EncodeToString([]byte(text)))
	}
	return out
}

func (h hidden) text(text string) string {
	for _, secret := range h {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// error takes the secrets out of an error's text. Its causes can still be asked for.
func (h hidden) error(err error) error { return &redacted{h.text(err.Error()), err} }

type redacted struct {
	text  string
	cause error
}

func (r *redacted) Error() string { return r.text }

func (r *redacted) Unwrap() error { return r.cause }
