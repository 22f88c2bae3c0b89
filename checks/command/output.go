package command

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Output is what a Monitoring Plugins program wrote, taken apart.
type Output struct {
	// Summary is the first line, Long the lines after it.
	Summary string
	Long    string
	Perf    []Perf
}

// ParseOutput takes a program's standard output apart: the first line up to a |, then
// performance data; more lines up to another |, and from there on nothing but
// performance data.
func ParseOutput(text string) Output {
	first, rest, _ := strings.Cut(strings.TrimSpace(printable(text)), "\n")
	summary, perf, _ := strings.Cut(first, "|")
	long, morePerf, _ := strings.Cut(rest, "|")
	return Output{
		Summary: strings.TrimSpace(summary),
		Long:    strings.TrimSpace(long),
		Perf:    parsePerf(perf + "\n" + morePerf),
	}
}

// printable replaces what people can't read; line ends stay.
func printable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r):
			return '?'
		}
		return r
	}, text)
}

// cut shortens a text to at most size bytes, and says so at its end.
func cut(text string, size int) string {
	const more = " […]"
	if len(text) <= size {
		return text
	}
	text = text[:size-len(more)]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + more
}
