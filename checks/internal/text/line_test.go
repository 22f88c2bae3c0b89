package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/wacht-io/wacht/checks/internal/text"
)

func TestLineIsOneShortLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		got := text.Line(string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")))
		if len(got) > 400 || strings.ContainsAny(got, "\n\r\x00\x1b") || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
	})
}
